// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IRunAnchor, RunId} from "../interfaces/IRunAnchor.sol";
import {AnchoredRun, Refusal} from "../libraries/AnchoredRun.sol";

/// @title Example: a catalogue that lists a model only if its training is anchored as the catalogue demands
/// @notice A listing offers the weights of one state commitment. The owner of a run lists it; the gate is fixed at
/// deployment. No money moves here.
contract ModelMarket {
    /// @notice A model on offer.
    /// @dev slot 0: seller 160 · steps 64 · free 32 | slot 1: state | slot 2: price
    struct Listing {
        address seller; // zero: not listed
        uint64 steps; // anchored when it was listed
        uint256 state; // digest of the state whose weights are sold
        uint256 price; // wei
    }

    /// @notice A model is on offer.
    event Listed(RunId indexed run, address indexed seller, uint256 indexed state, uint64 steps, uint256 price);
    /// @notice A model is no longer on offer.
    event Delisted(RunId indexed run, address indexed by);

    /// @notice Thrown when `caller` does not own the run.
    error NotRunOwner(RunId run, address owner, address caller);
    /// @notice Thrown when `caller` is not the seller of a run that still passes the gate.
    error NotSeller(RunId run, address seller, address caller);
    /// @notice Thrown when the run is not listed.
    error NotListed(RunId run);
    /// @notice Thrown when the address of the anchor has no code.
    error AnchorWithoutCode(address anchor);

    IRunAnchor private immutable ANCHOR;
    AnchoredRun.Gate private _gate;
    mapping(RunId run => Listing) private _listings;

    /// @param anchor_ The chain's word on runs.
    /// @param gate_ What a listed run must show.
    constructor(address anchor_, AnchoredRun.Gate memory gate_) {
        if (anchor_.code.length == 0) revert AnchorWithoutCode(anchor_);
        ANCHOR = IRunAnchor(anchor_);
        _gate = gate_;
    }

    /// @notice Lists the model at `state` for `price`; the run's owner.
    /// @param run The run that made the model.
    /// @param state Digest of the state that is for sale.
    /// @param price In wei; what it buys is settled elsewhere.
    function list(RunId run, uint256 state, uint256 price) external {
        IRunAnchor.Facts memory facts = AnchoredRun.requirePasses(ANCHOR, run, state, _gate);
        if (msg.sender != facts.owner) revert NotRunOwner(run, facts.owner, msg.sender);
        _listings[run] = Listing({seller: msg.sender, steps: facts.steps, state: state, price: price});
        emit Listed(run, msg.sender, state, facts.steps, price);
    }

    /// @notice Takes a model off: its seller; or anybody, once the run no longer passes the gate, as when its circuit
    /// was stopped.
    /// @param run The run of a listed model.
    function delist(RunId run) external {
        address seller = _listings[run].seller;
        if (seller == address(0)) revert NotListed(run);
        if (msg.sender != seller && passes(run)) revert NotSeller(run, seller, msg.sender);
        delete _listings[run];
        emit Delisted(run, msg.sender);
    }

    /// @notice What is on offer; all zero if nothing.
    /// @param run The run of a model.
    /// @return Seller, steps, state and price.
    function listingOf(RunId run) external view returns (Listing memory) {
        return _listings[run];
    }

    /// @notice What a listed run must show.
    /// @return The gate, fixed at deployment.
    function gate() external view returns (AnchoredRun.Gate memory) {
        return _gate;
    }

    /// @notice Whether the run passes the gate now, with the state it is listed at.
    /// @param run The run of a listed model.
    /// @return Whether it could be listed again.
    function passes(RunId run) public view returns (bool) {
        // slither-disable-next-line unused-return
        (Refusal refusal,,) = AnchoredRun.evaluate(ANCHOR.factsOf(run), _listings[run].state, _gate);
        return refusal == Refusal.None;
    }
}
