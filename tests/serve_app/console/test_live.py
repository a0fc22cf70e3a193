"""The live view: pools, decisions and experts, as they are now."""

from dataclasses import replace

from playwright.sync_api import expect

from serve_app.engine.scripted import OK
from serve_app.types import ReplicaReport
from tests.serve_app.console.browsing import usual
from tests.serve_app.console.conftest import Open
from tests.serve_app.samples import system

BUSY = ReplicaReport(
    "l1",
    num_running=6,
    num_waiting=3,
    kv_usage=0.42,
    batch_size=5.4,
    ttft_s=0.25,
    per_token_s=0.012,
    acceptance=(0.8, 0.6),
    draft_tokens=2,
)
PIXEL = "(map, [x, y]) => map.getContext('2d').getImageData(x, y, 1, 1).data[3]"
"""How opaque one cell of the heat map is, 0 to 255."""


def test_pools(open_console: Open) -> None:
    """A replica's queue, batch, cache, times and drafts are there, and follow its reports."""
    parts = system({"t1": OK}, {"l1": OK})
    parts.backends["latency"].said = {"l1": BUSY}
    parts.pools["latency"].traits = replace(parts.pools["latency"].traits, speculates=True, max_num_seqs=8)
    console = open_console(parts)
    pool = console.page.get_by_role("article", name="Pool latency")
    expect(pool.get_by_role("meter", name="Running: 6 of 8")).to_have_attribute("value", "6")
    expect(pool.get_by_role("meter", name="KV cache: 42 %")).to_be_visible()
    expect(pool.get_by_role("meter", name="Position 2: 60 %")).to_be_visible()
    expect(pool).to_contain_text("Draft tokens k = 2 · 2.40 tokens a step")
    figures = pool.locator("dl > div").all_inner_texts()
    assert [figure.replace("\n", " ") for figure in figures] == [
        "Waiting 3",
        "Mean batch 5.4",
        "First token 250 ms",
        "A token 12 ms",
    ]
    parts.backends["latency"].said = {"l1": ReplicaReport("l1", num_running=1, is_draining=True)}
    expect(pool.get_by_role("meter", name="Running: 1 of 8")).to_be_visible()
    expect(pool.locator(".state")).to_have_text("draining")


def test_a_pool_without_replicas(open_console: Open) -> None:
    """It says so."""
    console = open_console(system({"t1": OK}))
    expect(console.page.get_by_role("article", name="Pool latency")).to_contain_text(
        "No replica has reported"
    )


def test_decisions(open_console: Open) -> None:
    """The newest comes first, with its pool, the reason in words, and both times to the first token."""
    console = open_console(usual())
    expect(console.page.locator("#decisions")).to_have_text("No requests yet.")
    console.ask("17 + 25?")
    console.ends()
    console.ask("17 + 25?", "High")
    console.ends()
    rows = console.page.locator("#decision-rows tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("high")
    expect(rows.first).to_contain_text("latency")
    expect(rows.first).to_contain_text("the pool serves this effort")
    expect(rows.first).to_contain_text("predicted")
    expect(rows.nth(1)).to_contain_text("throughput")


def test_experts(open_console: Open) -> None:
    """The heat map is as dark as the experts are hot, and the hottest are told in words."""
    parts = system({"t1": OK}, {"l1": OK})
    load = {"window_s": 60.0, "ranks": 1, "balancedness": [1.0, 1.0]}
    parts.backends["throughput"].loads = {"t1": load | {"counts": [[0, 10, 90, 0], [25, 25, 25, 25]]}}
    parts.backends["latency"].loads = {"l1": load | {"counts": [[0, 0, 0, 0], [0, 0, 0, 0]]}}
    console = open_console(parts)
    experts = console.page.locator("#experts")
    expect(experts.get_by_role("img")).to_have_accessible_name(
        "Load of experts: 2 layers, 4 experts, 100 choices a layer. The hottest: "
        "layer 0, expert 2: 90 choices, 90 %; layer 1, expert 0: 25 choices, 25 %; layer 1, expert 1: "
        "25 choices, 25 %; layer 1, expert 2: 25 choices, 25 %; layer 1, expert 3: 25 choices, 25 %."
    )
    cold, warm, hot = (experts.locator("canvas").evaluate(PIXEL, [x, 0]) for x in range(3))
    assert (cold, hot) == (0, 255)
    assert 0 < warm < 255
    console.control("Replica").select_option("latency · l1")
    expect(experts).to_have_text("No tokens in the last 60 s.")


def test_experts_are_not_counted(open_console: Open) -> None:
    """It says which setting counts them."""
    console = open_console(system({"t1": OK}))
    expect(console.page.locator("#experts")).to_contain_text("count_experts: true")


def test_an_answer_that_is_cut_off(open_console: Open) -> None:
    """It is said, and the next one is asked for."""
    console = open_console(system({"t1": OK}))
    pools = console.page.get_by_role("article", name="Pool throughput")
    expect(pools).to_be_visible()
    console.page.route("**/venturi/pools", lambda route: route.fulfill(body='{"data": ['))
    expect(console.page.locator("body")).to_contain_text("The connection was lost in the middle")
    console.page.unroute("**/venturi/pools")
    expect(console.page.locator("body")).not_to_contain_text("The connection was lost", timeout=10_000)
