// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import {IRunAnchor, RunId} from "../interfaces/IRunAnchor.sol";

/// @notice Why a run does not pass a gate, in the order of the checks.
enum Refusal {
    None, // it passes
    UnknownRun,
    NotFinal,
    SelectorFrozen,
    SelectorNotAllowed,
    PolicyNotAllowed,
    TooFewSteps,
    StateDiffers
}

/// @title The gate of contracts that rely on training runs
/// @notice One line in a contract requires: this run is anchored at this state, by at least so many steps, under an
/// allowed policy and circuit, by verifiers that are not stopped. `testdata/gate/cases.json` holds cases on which
/// `ledger::gate` gives the same answers.
/// @dev What passing means: an accepted proof says that each step is what the optimizer makes of the state before it and
/// of a committed gradient. It does not say that the gradient is honest or the data good.
library AnchoredRun {
    /// @notice What a run must show.
    struct Gate {
        uint64 minSteps;
        bool mustBeFinal;
        bytes4[] selectors; // allowed circuit families; none: no run passes
        uint256[] policies; // digests of allowed policies; none: no run passes
    }

    /// @notice Thrown when a run does not pass. Both values are zero where there is nothing to compare.
    error RunRefused(RunId run, Refusal refusal, uint256 expected, uint256 got);

    /// @notice Reverts unless the run passes the gate and its anchored state is `state`.
    /// @param anchor Contract that holds the run.
    /// @param run The run.
    /// @param state Digest of the state that is offered.
    /// @param gate What it must show.
    /// @return facts What the chain says of the run.
    function requirePasses(IRunAnchor anchor, RunId run, uint256 state, Gate memory gate)
        internal
        view
        returns (IRunAnchor.Facts memory facts)
    {
        facts = anchor.factsOf(run);
        (Refusal refusal, uint256 expected, uint256 got) = evaluate(facts, state, gate);
        if (refusal != Refusal.None) revert RunRefused(run, refusal, expected, got);
    }

    /// @notice The gate as a pure function of what the chain says.
    /// @param facts What the chain says of the run.
    /// @param state Digest of the state that is offered.
    /// @param gate What it must show.
    /// @return refusal The first check that fails.
    /// @return expected What it asks for.
    /// @return got What there is.
    function evaluate(IRunAnchor.Facts memory facts, uint256 state, Gate memory gate)
        internal
        pure
        returns (Refusal refusal, uint256 expected, uint256 got)
    {
        if (facts.owner == address(0)) return (Refusal.UnknownRun, 0, 0);
        if (gate.mustBeFinal && !facts.finalized) return (Refusal.NotFinal, 1, 0);
        if (facts.frozen) return (Refusal.SelectorFrozen, 0, uint32(facts.selector));
        if (!_contains(gate.selectors, facts.selector)) return (Refusal.SelectorNotAllowed, 0, uint32(facts.selector));
        if (!_contains(gate.policies, facts.policy)) return (Refusal.PolicyNotAllowed, 0, facts.policy);
        if (facts.steps < gate.minSteps) return (Refusal.TooFewSteps, gate.minSteps, facts.steps);
        if (facts.state != state) return (Refusal.StateDiffers, facts.state, state);
        return (Refusal.None, 0, 0);
    }

    function _contains(bytes4[] memory list, bytes4 item) private pure returns (bool) {
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i] == item) return true;
        }
        return false;
    }

    function _contains(uint256[] memory list, uint256 item) private pure returns (bool) {
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i] == item) return true;
        }
        return false;
    }
}
