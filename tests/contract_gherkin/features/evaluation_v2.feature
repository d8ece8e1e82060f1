# Written for this repository: every step form that the specification's scenarios use, on flags of our own.
Feature: A house

  Background:
    Given a stable provider

  @spec-1.4.3 @spec-1.4.5
  Scenario Outline: Something is answered
    Given a <type>-flag with key "<key>" and a default value "<default>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    And the flag key should be "<key>"
    And the variant should be "<variant>"
    And the reason should be "STATIC"

    Examples:
      | type    | key    | default | value       | variant |
      | Boolean | lamp   | false   | true        | lit     |
      | Float   | weight | 1.5     | 0.5         | light   |
      | Object  | plan   | {}      | {\"a\": [1]} | small   |

  Scenario: A rule is met
    Given a String-flag with key "colour" and a fallback value "green"
    And a context containing a key "room", with type "String" and with value "cellar"
    And a context containing a key "heated", with type "Boolean" and with value "false"
    And a context containing a key "depth", with type "Integer" and with value "3"
    When the flag was evaluated with details
    Then the resolved details value should be ""
    And the reason should be "TARGETING_MATCH"

  Scenario: A rule is not met
    Given a String-flag with key "colour" and a fallback value "green"
    And a context containing a key "room" with null value
    When the flag was evaluated with details
    Then the resolved details value should be "red"
    And the reason should be "DEFAULT"

  Scenario: Nobody made it
    Given an Integer-flag with key "nowhere" and a default value "4"
    When the flag was evaluated with details asynchronously
    Then the evaluation should complete without blocking
    And the resolved details value should be "4"
    And the reason should be "ERROR"
    And the error-code should be "FLAG_NOT_FOUND"

  Scenario: It is switched off
    Given an Integer-flag with key "steps" and a default value "4"
    When the flag was evaluated with details
    Then the resolved details value should be "4"
    And the reason should be "DISABLED"

  @provider-status
  Scenario: The house is closed
    Given a not ready provider

  Scenario: It carries a label
    Given a Boolean-flag with key "labelled" and a default value "false"
    When the flag was evaluated with details

  Scenario: It serves nothing
    Given a Boolean-flag with key "unset" and a default value "false"
    When the flag was evaluated with details

  Scenario: It asks for a function
    Given a Boolean-flag with key "clever" and a default value "false"
    When the flag was evaluated with details

  Scenario: A step of another age
    Given the house was painted
