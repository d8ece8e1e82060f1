Feature: Who says what the room is

  Background:
    Given a stable provider with retrievable context is registered

  Scenario Outline: One level speaks
    Given A context entry with key "room" and value "attic" is added to the "<level>" level
    When Some flag was evaluated
    Then The merged context contains an entry with key "room" and value "attic"

    Examples:
      | level        |
      | API          |
      | Transaction  |
      | Client       |
      | Invocation   |
      | Before Hooks |

  Scenario: The last one wins
    Given A table with levels of increasing precedence
      | API         |
      | Transaction |
      | Client      |
    And Context entries for each level from API level down to the "Client" level, with key "room" and value "hall"
    When Some flag was evaluated
    Then The merged context contains an entry with key "room" and value "hall"
