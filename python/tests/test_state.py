"""Layout, quantization, chunks and the numpy path. Without torch."""

import numpy as np
import pytest

from cairn import IntegerOptimizer, Layout, LayoutError, RangeError, Settings, State
from cairn.layout import auto_chunks, chunk_ranges
from cairn.quantize import from_q24, hyper, to_q24

ADAM = Settings("adamw", 0.9, 0.999, 1e-8)


def weights(seed=1):
    rng = np.random.default_rng(seed)
    return {"b": rng.normal(size=3), "a.weight": rng.normal(size=(2, 3)), "scale": rng.normal(size=())}


def test_the_layout_depends_on_names_and_not_on_their_order():
    shapes = {name: value.shape for name, value in weights().items()}
    layout = Layout.by_name(shapes)
    assert layout == Layout.by_name(dict(reversed(shapes.items())))
    assert [(t.name, t.shape, t.offset) for t in layout] == [("a.weight", (2, 3), 0), ("b", (3,), 6), ("scale", (1,), 9)]
    assert layout.n_params == 10
    assert Layout.from_json(layout.to_json()) == layout


def test_flattening_and_back_is_the_same():
    layout = Layout.by_name({name: value.shape for name, value in weights().items()})
    flat = layout.flatten(weights(), np.float64)
    assert flat[:6].tolist() == weights()["a.weight"].reshape(-1).tolist()
    for name, value in layout.unflatten(flat).items():
        assert value.reshape(weights()[name].shape).tolist() == weights()[name].tolist()


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ([], "there are no parameters"),
        ([("a", (2,)), ("a", (3,))], "'a' is there twice"),
        ([("a b", (2,))], "'a b': a name is"),
        ([("a", (2, 0))], "has no elements"),
    ],
)
def test_what_is_no_layout_is_refused(tensors, says):
    with pytest.raises(LayoutError, match=says):
        Layout(tensors)


def test_a_layout_with_gaps_is_refused():
    value = Layout([("a", (2,)), ("b", (2,))]).to_json()
    value["tensors"][1]["offset"] = 3
    with pytest.raises(LayoutError, match="gaps"):
        Layout.from_json(value)


def test_tensors_that_do_not_fit_the_layout_are_named():
    layout = Layout([("a", (2,)), ("b", (2,))])
    a, b = np.zeros(2), np.zeros(2)
    with pytest.raises(LayoutError, match="'b' is missing"):
        layout.flatten({"a": a}, np.float64)
    with pytest.raises(LayoutError, match="'c' is not in the layout"):
        layout.flatten({"a": a, "b": b, "c": a}, np.float64)
    with pytest.raises(LayoutError, match=r"'b': expected shape \[2\], got \[3\]"):
        layout.flatten({"a": a, "b": np.zeros(3)}, np.float64)


def test_chunks_cover_every_parameter_once():
    for n, k in ((10, 1), (10, 3), (10, 4), (3, 4), (131_072, 2)):
        ranges = chunk_ranges(n, k)
        assert len(ranges) == k
        assert [i for r in ranges for i in r] == list(range(n))
        assert {len(r) for r in ranges[: n // -(-n // k)]} == {-(-n // k)}
    assert [auto_chunks(n) for n in (1, 131_072, 131_073, 1_000_000)] == [1, 1, 2, 8]


def test_rounding_is_to_even_and_exact_back():
    unit = 2.0**-24
    raw = to_q24(np.array([0.5, 1.5, -0.5, -1.5, 2.49, -128 / unit]) * unit)
    assert raw.tolist() == [0, 2, 0, -2, 2, -(2**31)]
    assert from_q24(raw).tolist() == [0.0, 2 * unit, 0.0, -2 * unit, 2 * unit, -128.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 128.0, -128.1, 2.0])
def test_a_gradient_without_a_place_is_named_and_changes_nothing(value):
    optimizer = IntegerOptimizer.fresh(ADAM, weights())
    gradients = {name: np.zeros(w.shape) for name, w in weights().items()}
    gradients["b"][2] = value
    before = optimizer.state
    with pytest.raises(RangeError) as refused:
        optimizer.step(gradients, lr=0.01)
    assert (refused.value.tensor, refused.value.index, refused.value.step) == ("b", 2, 0)
    np.testing.assert_equal(refused.value.value, value * 64)
    assert "b[2]" in str(refused.value)
    assert optimizer.state is before and optimizer.step_index == 0


def test_a_result_without_a_place_is_named():
    start = {"x": np.array([0.0, 127.99])}
    optimizer = IntegerOptimizer.fresh(Settings("sgd", 0.0), start)
    with pytest.raises(RangeError) as refused:
        optimizer.step({"x": np.array([0.0, -1.9])}, lr=1.0)
    assert (refused.value.what, refused.value.tensor, refused.value.index) == ("w'", "x", 1)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"lr": 1.0}, "lr"),
        ({"lr": -0.1}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"beta1": 1.0}, "beta1"),
        ({"beta2": -1.0}, "beta2"),
        ({"eps": 0.0}, "eps"),
        ({"eps": 0.1}, "eps"),
        ({"weight_decay": 1.5}, "weight_decay"),
        ({"gradient_scale_log2": 17}, "gradient_scale_log2"),
    ],
)
def test_hyper_parameters_without_a_place_are_named(values, what):
    usual = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
    with pytest.raises(RangeError) as refused:
        hyper("adamw", **{**usual, **values})
    assert refused.value.what == what


def test_raw_hyper_parameters_are_those_of_the_reference_trainer():
    # As `cairn train` writes them in run.json with --lr 0.003: docs/fidelity.md and prover::train.
    got = hyper("adamw", lr=0.003, beta1=0.9, beta2=0.999, eps=1e-8)
    assert (got.beta1, got.beta2, got.eps, got.lr, got.weight_decay) == (3865470566, 4290672329, 2749, 12884902, 0)
    got = hyper("sgd", lr=0.1, beta1=0.9, weight_decay=1e-4)
    assert (got.eps, got.beta2, got.lr, got.weight_decay) == (0, 0, 6710886, 27487791)


def test_states_survive_their_bytes():
    optimizer = IntegerOptimizer.fresh(ADAM, weights())
    optimizer.step({name: np.full(w.shape, 0.3) for name, w in weights().items()}, lr=0.01)
    state = optimizer.state
    again = State.from_bytes(state.to_bytes())
    assert again.digest() == state.digest()
    assert (again.w.tolist(), again.m.tolist(), again.v.tolist()) == (state.w.tolist(), state.m.tolist(), state.v.tolist())
    assert (again.p1, again.p2) == (state.p1, state.p2) != (2**32, 2**32)


def test_listeners_see_each_step_until_they_are_removed():
    optimizer = IntegerOptimizer.fresh(ADAM, weights())
    seen = []
    remove = optimizer.on_step(seen.append)
    gradients = {name: np.ones(w.shape) for name, w in weights().items()}
    first = optimizer.step(gradients, lr=0.01)
    optimizer.step(gradients, lr=0.02)
    remove()
    optimizer.step(gradients, lr=0.03)
    assert [s.index for s in seen] == [0, 1] and seen[0] is first
    assert seen[1].before is seen[0].after
    assert [s.hyper.lr for s in seen] == [round(0.01 * 2**32), round(0.02 * 2**32)]
