"""A plan is the smallest that fits both memories, and what does not fit is refused with the bound that broke."""

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from omap import sizing
from omap.board import BOARDS
from omap.cli import main
from omap.errors import InputError, ParamsError, PlanError
from omap.params import KEY_SIZES, Params, Rule
from omap.presets import preset
from omap.sizing import link
from omap.sizing.channels import layouts, total
from omap.sizing.planner import U55C_HBM_BYTES, largest, plan
from omap.units import UNITS, format_bytes, parse
from omap.wire import BufferLayout
from tests.support.plans import refused, told

GIB = 1 << 30
TABLE = dict(capacity=300_000_000, key_bytes=8, value_bytes=64)
"""More than 16 GiB of HBM hold."""


def fails(message, **wanted):
    return refused(message, **TABLE | wanted)


# -- choices ----------------------------------------------------------------------------------------------------


def test_resident_when_everything_fits_and_not_beyond():
    chosen = plan(**TABLE | dict(capacity=100_000_000), hbm_bytes=16 * GIB, host_bytes=256 * GIB)
    assert chosen.params.rule is Rule.RESIDENT
    assert chosen.page_bytes_each_way == 0
    need = chosen.params.hbm_bytes
    assert plan(**TABLE | dict(capacity=100_000_000), hbm_bytes=need).params.rule is Rule.RESIDENT
    assert plan(**TABLE | dict(capacity=100_000_000), hbm_bytes=need - 1).params.rule is Rule.ONE_CHOICE


@pytest.mark.parametrize("hbm_bytes", [14 * GIB, 16 * GIB, 24 * GIB])
def test_the_smallest_pages_that_fit_are_chosen(hbm_bytes):
    chosen = plan(**TABLE, hbm_bytes=hbm_bytes, host_bytes=256 * GIB)
    assert chosen.params.rule is Rule.ONE_CHOICE
    assert chosen.params.hbm_bytes <= hbm_bytes
    assert chosen.params.host_bytes <= 256 * GIB
    for page_bytes in range(128, chosen.params.page_bytes, 64):
        fails("HBM is", page_bytes=page_bytes, hbm_bytes=hbm_bytes, host_bytes=256 * GIB)


def test_less_host_memory_needs_fuller_or_other_pages():
    free = plan(**TABLE, hbm_bytes=24 * GIB)
    tight = plan(**TABLE, hbm_bytes=24 * GIB, host_bytes=free.params.host_bytes - 1)
    assert tight.params.host_bytes < free.params.host_bytes
    assert tight.params.hbm_bytes <= 24 * GIB


@pytest.mark.parametrize("capacity", [10_000, 1_000_000, 100_000_000])
def test_prefer_hbm_needs_at_most_25_bytes_a_key(capacity):
    frugal = plan(capacity=capacity, key_bytes=8, value_bytes=8, prefer="hbm")
    assert frugal.params.rule is Rule.ONE_CHOICE
    assert frugal.hbm_bytes_per_key <= 25
    usual = plan(capacity=capacity, key_bytes=8, value_bytes=8, rule="one_choice")
    assert frugal.params.hbm_bytes < usual.params.hbm_bytes
    assert frugal.page_bytes_each_way > usual.page_bytes_each_way


def test_u55c_is_the_largest_standard_map():
    params, board = preset("U55C"), BOARDS["u55c"]
    standard = preset("STANDARD")
    for name in ("key_bytes", "value_bytes", "page_bytes", "rule", "bucket_bytes"):
        assert getattr(params, name) == getattr(standard, name)
    more = params.capacity // 400  # loads between those that largest tries hold a fraction of this
    with pytest.raises(PlanError, match="33 are needed, 1 more, most of them for slots"):
        plan(capacity=params.capacity + more, key_bytes=8, value_bytes=64, page_bytes=640, board=board)
    chosen = plan(capacity=params.capacity, key_bytes=8, value_bytes=64, page_bytes=640, board=board)
    assert chosen.params == params
    assert sum(chosen.channels.values()) == board.pseudo_channels
    in_bytes = largest(key_bytes=8, value_bytes=64, page_bytes=640).params
    assert 0.96 < params.capacity / in_bytes.capacity < 1
    assert in_bytes.hbm_bytes <= U55C_HBM_BYTES
    with pytest.raises(PlanError, match="HBM is"):
        plan(capacity=in_bytes.capacity + more, key_bytes=8, value_bytes=64, page_bytes=640)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_plan_for_a_board_fits_its_channels(board):
    wanted = TABLE | dict(capacity=100_000_000)
    chosen = plan(**wanted, board=board)
    assert chosen.params.rule is Rule.ONE_CHOICE  # although all of it would fit the HBM of a U55C
    found = layouts(chosen.params, channel_bytes=board.channel_bytes)
    assert chosen.channels == {name: layout.channels for name, layout in found.items()}
    assert total(found) <= board.pseudo_channels
    assert all(layout.per_group * layout.item_bytes <= board.channel_bytes for layout in found.values())
    assert plan(**wanted, rule="one_choice", board=board) == chosen
    assert chosen.to_dict()["board"] == board.name
    assert plan(**wanted).to_dict()["hbm_channels"] is None


def test_a_plan_says_whether_a_shell_reaches_all_of_it():
    board = BOARDS["u55c"]
    window = board.host_window_bytes
    large = plan(capacity=preset("U55C").capacity, key_bytes=8, value_bytes=64, page_bytes=640, board=board)
    small = plan(**TABLE | dict(capacity=1_000_000), board=board)
    for chosen, fits in ((large, False), (small, True)):
        assert chosen.shared_bytes == max(BufferLayout(chosen.params, 1 << n).size for n in range(7, 17))
        assert (chosen.shared_bytes <= window) == chosen.fits_host_window == fits
        assert chosen.to_dict()["fits_host_window"] == fits
        assert chosen.to_dict()["shared_bytes"] == chosen.shared_bytes
    assert plan(**TABLE | dict(capacity=1_000_000)).fits_host_window is None
    assert plan(**TABLE | dict(capacity=1_000_000), board=BOARDS["u50"]).fits_host_window is None  # nobody knows it


def test_whole_channels_can_be_what_does_not_fit():
    """In bytes it fits; no structure may share a channel with another."""
    wide = dict(capacity=440_000_000, key_bytes=8, value_bytes=64, page_bytes=640)
    assert plan(**wide).params.hbm_bytes < U55C_HBM_BYTES
    with pytest.raises(PlanError) as raised:
        plan(**wide, board=BOARDS["u55c"])
    message = str(raised.value)
    found = re.search(r"HBM of a U55C has 32 channels of 512.00 MiB and (\d+) are needed, (\d+) more, most of", message)
    assert int(found[1]) == 32 + int(found[2])
    assert sum(map(int, re.findall(r" (\d+)[,)]", message.partition("(")[2].partition(" with")[0]))) == int(found[1])
    fewer = int(message.split("about ")[1].split(" keys")[0].replace(",", ""))
    assert plan(**wide | dict(capacity=fewer), board=BOARDS["u55c"]).channels


def test_largest_refuses_what_holds_nothing():
    assert largest(key_bytes=8, value_bytes=64, page_bytes=640, hbm_bytes=20_000).params.capacity >= 1
    with pytest.raises(PlanError, match="not even one key fits"):
        largest(key_bytes=8, value_bytes=64, page_bytes=640, hbm_bytes=100)


@settings(max_examples=30)
@given(
    capacity=st.integers(1, 10**8),
    key_bytes=st.sampled_from(KEY_SIZES),
    value_bytes=st.integers(1, 4096),
    rule=st.sampled_from([None, *Rule]),
    hbm_bytes=st.integers(1, 1 << 36),
    host_bytes=st.one_of(st.none(), st.integers(1, 1 << 40)),
)
def test_a_plan_fits_or_is_refused(capacity, key_bytes, value_bytes, rule, hbm_bytes, host_bytes):
    asked = dict(capacity=capacity, key_bytes=key_bytes, value_bytes=value_bytes)
    try:
        chosen = plan(**asked, rule=rule, hbm_bytes=hbm_bytes, host_bytes=host_bytes)
    except PlanError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert any(words in message for words in ("are needed", "must be", "reach")), message
        return
    assert asked.items() <= chosen.params.to_dict().items()
    assert rule in (None, chosen.params.rule)
    assert chosen.params.hbm_bytes <= hbm_bytes
    assert host_bytes is None or chosen.params.host_bytes <= host_bytes
    assert all(risk.bits >= sizing.TARGET_BITS for risk in chosen.risks.values())
    assert chosen.mean_waiting <= chosen.params.waiting_slots
    assert Params.from_dict(json.loads(json.dumps(chosen.to_dict()))["params"]) == chosen.params


# -- refusals ---------------------------------------------------------------------------------------------------


def test_refusals_name_the_bound_and_the_amount():
    message = fails("one_choice: HBM is 2.00 GiB and", hbm_bytes=2 * GIB)
    needed = float(message.split(" and ")[1].split(" GiB")[0])
    assert f"{needed - 2:.2f} GiB (" in message
    assert float(message.split("(")[1].split("%")[0]) == pytest.approx((needed / 2 - 1) * 100, abs=1)
    fewer = int(message.split("about ")[1].split(" keys")[0].replace(",", ""))
    assert plan(**TABLE | dict(capacity=fewer), rule="one_choice", hbm_bytes=2 * GIB).params.hbm_bytes <= 2 * GIB

    fails("one_choice: host memory is 4.00 GiB and", host_bytes=4 * GIB)
    both = fails("either memory would suffice alone", hbm_bytes=6 * GIB, host_bytes=20 * GIB)
    assert plan(**TABLE | dict(capacity=told(both)), hbm_bytes=6 * GIB, host_bytes=20 * GIB)
    fails("resident: HBM is 16.00 GiB and", rule="resident")
    fails("two_choice: HBM is 4.00 GiB and", rule="two_choice", hbm_bytes=4 * GIB, host_bytes=GIB)
    fails("host memory is 1.00 GiB and", rule="two_choice", hbm_bytes=64 * GIB, host_bytes=GIB)
    fails("or larger pages", page_bytes=128)
    fails("page_bytes is 100; it must be a positive multiple of 64", page_bytes=100)
    fails("a resident map has no pages", rule="resident", page_bytes=640)
    fails("choose one of one_choice", rule="three_choice")
    fails("choose bytes or hbm", prefer="speed")
    fails("HBM of a U50 has 32 channels of 256.00 MiB and", board=BOARDS["u50"], page_bytes=640)
    fails("the board is u50, which has 8.00 GiB of HBM, and", board=BOARDS["u50"], hbm_bytes=8 * GIB)
    fails("accelerators are built for one_choice alone", board=BOARDS["u50"], rule="resident")
    fails("either memory would suffice alone", board=BOARDS["u50"], host_bytes=37 * GIB // 2)
    with pytest.raises(ParamsError, match="key_bytes is 7; it must be 4, 8 or 16"):
        plan(capacity=10, key_bytes=7, value_bytes=8)


def test_the_least_hbm_is_found_where_small_buckets_do_not_reach():
    sizes = dict(capacity=3 * 10**9, key_bytes=4, value_bytes=64, page_bytes=640)
    assert plan(**sizes, hbm_bytes=1 << 40, prefer="hbm").params.bucket_bytes == 128


def test_the_reason_says_what_was_compared():
    small = TABLE | dict(capacity=10_000, prefer="hbm")
    assert plan(**small).reason == "of all page sizes and loads this one needs the least HBM"
    chosen = plan(**small, page_bytes=640)
    assert chosen.reason == "the page size asked for, with the load that needs the least HBM"
    assert chosen.params.hbm_bytes > plan(**small).params.hbm_bytes


NAN, HUGE = float("nan"), 10**400


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (dict(hbm_bytes=NAN), "hbm_bytes is nan; it must be a whole number of bytes, such as 16 << 30"),
        (dict(host_bytes=NAN), "host_bytes is nan; it must be a whole number of bytes"),
        (dict(page_bytes=NAN), "page_bytes is nan; it must be a whole number of bytes"),
        (dict(hbm_bytes=float("inf")), "hbm_bytes is inf; it must be a whole number of bytes"),
        (dict(hbm_bytes=16e9), "hbm_bytes is 16000000000.0; it must be a whole number of bytes"),
        (dict(hbm_bytes="16GiB"), "hbm_bytes is '16GiB'; it must be a whole number of bytes"),
        (dict(hbm_bytes=True), "hbm_bytes is True; it must be a whole number of bytes"),
        (dict(hbm_bytes=-1), "hbm_bytes is -1; it must be 0 to 2^64"),
        (dict(host_bytes=-1), "host_bytes is -1; it must be 0 to 2^64"),
        (dict(page_bytes=-64), "page_bytes is -64; it must be 0 to 2^64"),
        (dict(hbm_bytes=HUGE), "hbm_bytes is 2^1328 or more; it must be 0 to 2^64"),
        (dict(host_bytes=HUGE), "host_bytes is 2^1328 or more; it must be 0 to 2^64"),
        (dict(page_bytes=0), "page_bytes is 0; it must be a positive multiple of 64"),
        (dict(page_bytes=9408), "page_bytes is 9408, room for 130 tuples of 72 bytes; the occupancy bitmap allows 32"),
        (
            dict(key_bytes=4, value_bytes=1, page_bytes=704),
            "page_bytes is 704, room for 137 tuples of 5 bytes; the occ",
        ),
        (dict(hbm_bytes=0), "no key fits: give more HBM"),
        (dict(hbm_bytes=0, board=BOARDS["u50"]), "the board is u50"),
        (dict(hbm_bytes=NAN, board=BOARDS["u50"]), "hbm_bytes is nan"),
    ],
    ids=str,
)
@pytest.mark.parametrize("rule", [None, "one_choice"])
def test_what_is_no_number_gets_a_sentence(wanted, message, rule):
    if wanted.keys() == {"host_bytes"}:
        wanted = wanted | dict(hbm_bytes=16 * GIB)
    told = fails(message, **wanted, rule=rule)
    assert len(told) < 300
    assert not re.search(r"-\d", told.replace("is -1", "").replace("is -64", ""))


def test_a_capacity_that_nobody_meant_gets_a_sentence():
    for capacity, message in (
        (HUGE, "capacity is 2^1328 or more; no map has more than 2^33"),
        (NAN, "is nan; it must"),
    ):
        with pytest.raises(ParamsError, match=re.escape(message)):
            plan(capacity=capacity, key_bytes=8, value_bytes=8)
    assert "1e99" not in run("--capacity", "1e6", "--hbm", "1e99").output
    assert "hbm_bytes is 2^328 or more; it must be 0 to 2^64" in run("--capacity", "1e6", "--hbm", "1e99").output


def test_largest_refuses_what_is_no_number():
    for hbm_bytes in (NAN, -1, "12", HUGE):
        with pytest.raises(PlanError, match="hbm_bytes is .*; it must be"):
            largest(key_bytes=8, value_bytes=64, page_bytes=640, hbm_bytes=hbm_bytes)


# -- what an operation moves ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("payload", "ceiling"), [(64, 65.0), (128, 82.7), (256, 95.7), (1024, 95.7)])
def test_the_link_model_meets_the_published_ceilings(payload, ceiling):
    assert payload * 8 / link.transfer_seconds(payload) / 1e9 == pytest.approx(ceiling, abs=0.1)


def test_operations_and_ratios_of_known_shapes():
    one = plan(capacity=1 << 20, key_bytes=4, value_bytes=8, rule="one_choice", page_bytes=128)
    two = plan(capacity=1 << 20, key_bytes=4, value_bytes=8, rule="two_choice")
    assert (one.page_bytes_each_way, one.record_bytes_each_way) == (128, 4096 / 253)
    assert one.operations_per_second == pytest.approx(113.7e9 / 8 / (128 + 48 + 16 * (256 + 48) / 253))
    assert two.params.page_bytes == 192
    assert two.page_bytes_each_way == pytest.approx(2 * 0.8 * 192, rel=1e-4)
    assert two.ratio_to_paper == pytest.approx(1, rel=1e-4)
    assert one.ratio_to_paper == pytest.approx(128 / (1.6 * 192))
    assert plan(capacity=10, key_bytes=8, value_bytes=64).record_bytes_each_way == 64 * 64 / 50


# -- command line and units -------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(main, ["plan", *arguments])


def test_the_command_prints_what_the_library_says():
    asked = ["--capacity", "3e8", "--hbm", "16GiB", "--host", "256GiB"]
    result = run(*asked, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == plan(**TABLE, host_bytes=256 * GIB).to_dict()
    text = run(*asked).output
    for words in ("one_choice", "waiting slots", "position map", "2^-82", "PCIe Gen3 x16", "page bytes read"):
        assert words in text
    assert "resident" in run("--capacity", "100e6", "--key-bytes", "8", "--value-bytes", "64").output
    assert "two_choice" in run("--capacity", "1e6", "--rule", "two_choice").output
    on_board = run("--capacity", "3e8", "--board", "u55c", "--json").output
    assert json.loads(on_board) == plan(**TABLE, board=BOARDS["u55c"]).to_dict()
    text = " ".join(run("--capacity", "3e8", "--board", "u55c").output.split())
    words = (
        r"Too large for the shell: pages and rings take up to (\d+\.\d+ GiB) of host memory; .* U55C reaches 16.00 GiB"
    )
    assert re.search(words, text)[1] == format_bytes(plan(**TABLE, board=BOARDS["u55c"]).shared_bytes)
    assert "Too large" not in run("--capacity", "1e6", "--board", "u55c").output
    text = " ".join(run("--capacity", "2e8", "--board", "u50").output.split())
    assert re.search(
        r"HBM, 8.00 GiB given .* HBM channels of 256.00 MiB: table 0 \d+, .*; \d+ of the 32 of a U50\.", text
    )


def test_the_command_refuses_clearly():
    result = run("--capacity", "1e9")
    assert result.exit_code == 2
    assert "HBM is 16.00 GiB" in result.output
    assert "is no size" in run("--capacity", "many").output
    assert "omap: capacity is 0; it must be a whole number" in run("--capacity", "0").output
    assert "HBM is 0 B and" in run("--capacity", "1e6", "--hbm", "0").output
    assert "%" not in run("--capacity", "1e6", "--hbm", "0").output
    assert "key_bytes is 5" in run("--capacity", "10", "--key-bytes", "5").output
    both = run("--capacity", "10", "--board", "u280", "--hbm", "16GiB")
    assert both.exit_code == 2
    assert "the board is u280, which has 8.00 GiB of HBM" in both.output


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4096", 4096), ("100e6", 10**8), ("2^20", 1 << 20), ("2**10", 1024), ("16GiB", 16 << 30),
        ("256GB", 256 * 10**9), ("1.5 kB", 1500), ("0.5GiB", 1 << 29), ("1_000", 1000), ("16gib", 16 << 30),
        ("3M", 3 * 10**6), ("1e3 kB", 10**6),
    ],
)  # fmt: skip
def test_sizes(text, number):
    assert parse(text) == number


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1.5", "3XB", "1e", "0x10", "1 2", "2^", "1e-3", "1e999"])
def test_no_sizes(text):
    with pytest.raises(InputError):
        parse(text)


@given(number=st.integers(0, 10**12), unit=st.sampled_from(sorted(UNITS)))
def test_sizes_with_every_unit(number, unit):
    assert parse(f"{number}{unit}") == number * UNITS[unit]


def test_bytes_for_people():
    assert [format_bytes(n) for n in (0, 999, 1000, 1 << 30, 1 << 50)] == [
        "0 B", "999 B", "0.98 KiB", "1.00 GiB", "1,024.00 TiB",
    ]  # fmt: skip


def test_planning_loads_nothing_slow():
    script = "import sys, omap.sizing.planner, omap.presets; omap.presets.preset('U55C'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "omap.sizing.theorem" in loaded
    assert not {"scipy", "numba", "click", "rich", "omap.sizing.load_process"} & set(loaded)


def test_log_probabilities_have_no_infinity_in_json():
    text = json.dumps(plan(capacity=12, key_bytes=4, value_bytes=4, rule="one_choice").to_dict(), allow_nan=False)
    assert json.loads(text)["runs_out"]["waiting slots"]["log2_probability"] is None
