Feature: Visitors

  Background:
    Given a stable provider

  Scenario: A visitor sees the lamp
    Given a client with added hook
    And a boolean-flag with key "lamp" and a default value "false"
    When the flag was evaluated with details
    Then the "before" hook should have been executed
    And the "after, finally" hooks should be called with evaluation details
      | data_type | key        | value |
      | string    | flag_key   | lamp  |
      | boolean   | value      | true  |
      | string    | variant    | lit   |
      | string    | reason     | STATIC |
      | string    | error_code | null  |

  Scenario: A visitor sees a mistake
    Given a client with added hook
    And a boolean-flag with key "colour" and a default value "false"
    When the flag was evaluated with details
    Then the "error" hook should have been executed
    And the "finally" hooks should be called with evaluation details
      | data_type | key        | value         |
      | boolean   | value      | false         |
      | string    | variant    | None          |
      | string    | error_code | TYPE_MISMATCH |
