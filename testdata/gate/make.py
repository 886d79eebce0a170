#!/usr/bin/env python3
"""Writes cases.json: gates, facts of runs, offered states, and the first check that refuses. No dependencies.

Each case changes one thing of a run that passes, or several to show which check comes first. The expected answers are
written here by hand; contracts/test/AnchoredRun.t.sol and ledger/tests/it/gate.rs must both give them.
"""

import json
from pathlib import Path

R = 21888242871839275222246405745257275088548364400416034343698204186575808495617
SELECTOR, OTHER_SELECTOR, NO_SELECTOR = "0xada00001", "0xada00002", "0x00000000"


def word(value):
    return f"0x{value:064x}"


STATE, OTHER_STATE, POLICY, OTHER_POLICY, ZERO, TOP = map(word, (42, 43, 2222, 2223, 0, R - 1))
UNKNOWN = {
    "final": False,
    "frozen": False,
    "policy": ZERO,
    "selector": NO_SELECTOR,
    "state": ZERO,
    "steps": 0,
}
cases = []


def facts(**changes):
    run = {"final": True, "frozen": False, "policy": POLICY, "selector": SELECTOR, "state": STATE, "steps": 8}
    return run | changes


def gate(**changes):
    asked = {"min_steps": 8, "must_be_final": True, "policies": [POLICY], "selectors": [SELECTOR], "v": 1}
    return asked | changes


def case(name, refusal, run=None, asked=None, state=STATE, known=True):
    cases.append(
        {
            "name": name,
            "known": known,
            "facts": run or facts(),
            "gate": asked or gate(),
            "state": state,
            "refusal": refusal,
        }
    )


case("exactly the least number of steps", "none")
case("more steps than asked for", "none", facts(steps=9))
nothing = gate(min_steps=0, must_be_final=False)
case("no steps asked for, none anchored", "none", facts(steps=0, final=False), nothing)
case("a run that goes on, where that is allowed", "none", facts(final=False), gate(must_be_final=False))
case("a final run, where it need not be", "none", facts(), gate(must_be_final=False))
several = gate(policies=[OTHER_POLICY, ZERO, POLICY], selectors=[OTHER_SELECTOR, NO_SELECTOR, SELECTOR])
case("the last of several policies and circuits", "none", facts(), several)
largest = facts(state=TOP, policy=TOP, steps=2**40)
case("largest field elements and sizes", "none", largest, gate(policies=[TOP], min_steps=2**40), TOP)
case("unknown run", "unknown_run", UNKNOWN, known=False)
all_zero = gate(min_steps=0, must_be_final=False, policies=[ZERO], selectors=[NO_SELECTOR])
case("unknown run, of which nothing is asked", "unknown_run", UNKNOWN, all_zero, ZERO, known=False)
case("not final", "not_final", facts(final=False))
case("stopped circuit", "selector_frozen", facts(frozen=True))
case("stopped circuit, not final", "selector_frozen", facts(frozen=True, final=False), gate(must_be_final=False))
case("circuit not allowed", "selector_not_allowed", facts(selector=OTHER_SELECTOR))
case("no circuit allowed", "selector_not_allowed", facts(), gate(selectors=[]))
case("policy not allowed", "policy_not_allowed", facts(policy=OTHER_POLICY))
case("no policy allowed", "policy_not_allowed", facts(), gate(policies=[]))
case("one step too few", "too_few_steps", facts(steps=7))
case("nothing anchored", "too_few_steps", facts(steps=0), gate(min_steps=1))
case("another state", "state_differs", facts(state=OTHER_STATE))
case("the zero state is offered", "state_differs", state=ZERO)

# Everything is wrong at first; what refuses is put right, one after the other.
wrong = facts(final=False, frozen=True, selector=OTHER_SELECTOR, policy=OTHER_POLICY, steps=0, state=OTHER_STATE)
case("all wrong: not final", "not_final", wrong)
wrong = wrong | {"final": True}
case("then the stopped circuit", "selector_frozen", wrong)
wrong = wrong | {"frozen": False}
case("then the circuit", "selector_not_allowed", wrong)
wrong = wrong | {"selector": SELECTOR}
case("then the policy", "policy_not_allowed", wrong)
wrong = wrong | {"policy": POLICY}
case("then the steps", "too_few_steps", wrong)
wrong = wrong | {"steps": 8}
case("then the state", "state_differs", wrong)

path = Path(__file__).with_name("cases.json")
path.write_text(json.dumps({"generated_by": "testdata/gate/make.py", "cases": cases}, indent=1) + "\n")
