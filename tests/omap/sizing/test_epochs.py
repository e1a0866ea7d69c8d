"""The bound on what worn page keys tell: the contract's figures, and what `omap plan` prints of it."""

import json
import math
from dataclasses import replace

import pytest
from click.testing import CliRunner

from omap import cli
from omap.errors import InputError
from omap.params import Rule
from omap.presets import preset
from omap.sizing.epochs import YEAR_SECONDS, epoch_blocks, wear_bits
from tests.support.leakage.faults import params_for

PAPER = preset("PAPER")


def test_paper_has_the_figure_of_the_contract():
    assert epoch_blocks(PAPER) == (2**24 + PAPER.pages) * 8  # 7 blocks of text and one that masks the tag
    assert math.floor(wear_bits(PAPER, 26e6)) == 49


def test_one_key_for_ever_wears_out_in_three_weeks():
    days = 22
    for_ever = replace(PAPER, epoch_bits=46)
    blocks = 26e6 * 86400 * days * 8
    assert 2 * math.log2(blocks) - 129 == pytest.approx(-32, abs=0.1)
    assert wear_bits(for_ever, 26e6, days * 86400) < 32
    assert wear_bits(PAPER, 26e6, days * 86400) > 53


def test_more_time_shorter_epochs_and_more_touches_change_the_bound_as_they_must():
    year = wear_bits(PAPER, 26e6)
    assert wear_bits(PAPER, 26e6, 2 * YEAR_SECONDS) == pytest.approx(year - 1, abs=1e-3)
    assert wear_bits(replace(PAPER, epoch_bits=20), 26e6) == pytest.approx(year + 4, abs=0.5)
    assert epoch_blocks(params_for(Rule.TWO_CHOICE)) == (2 * 2**16 + 100) * 16
    assert wear_bits(params_for(Rule.RESIDENT), 26e6) == math.inf


def test_plan_prints_the_bound():
    words = ["plan", "--capacity", "2^20", "--key-bytes", "4", "--value-bytes", "8", "--rule", "one_choice"]
    shown = " ".join(CliRunner().invoke(cli.main, words).output.split())
    found = json.loads(CliRunner().invoke(cli.main, [*words, "--json"]).output)
    bits = math.floor(-found["pages_tell_in_a_year"]["log2_advantage"])
    assert 40 < bits < 60
    assert f"a new one every 2^{found['params']['epoch_bits']} operations" in shown
    assert f"an advantage of at most 2^-{bits} over guessing" in shown
    assert "the masks of tags are counted" in shown


def test_a_plan_without_pages_has_no_page_keys():
    words = ["plan", "--capacity", "1000", "--rule", "resident"]
    shown = CliRunner().invoke(cli.main, words).output
    assert "Page keys" not in shown
    assert "the accelerator implements one_choice alone" in " ".join(shown.split())
    found = json.loads(CliRunner().invoke(cli.main, [*words, "--json"]).output)
    assert found["pages_tell_in_a_year"] == {"log2_advantage": None}


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1.0])
def test_a_rate_that_is_no_number_is_refused(rate):
    with pytest.raises(InputError, match="both must be numbers, 0 or more"):
        wear_bits(params_for(Rule.ONE_CHOICE), rate)
