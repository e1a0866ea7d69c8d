"""The page that the demo writes: one HTML file that needs no other, for readers who have never heard of oblivious
maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from omap.demo.pictures import COLOURS, STYLE, Run, picture
from omap.demo.run import Outcome, Seen
from omap.demo.table import Table

_STYLE = (
    COLOURS
    + STYLE
    + """
body { margin: 0; background: var(--paper); color: var(--ink); font: 1.05rem/1.55 system-ui, sans-serif }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 2.5rem) 4rem }
h1 { font-size: clamp(1.6rem, 4.5vw, 2.5rem); line-height: 1.15; margin: .5rem 0 1rem; text-wrap: balance }
h2 { font-size: 1.45rem; line-height: 1.25; margin: 3.2rem 0 .6rem }
h3 { font-size: 1.1rem; margin: 2rem 0 .2rem }
p, ul, dl { max-width: 46rem; margin: .5rem 0 1rem }
.pair { display: grid; gap: 1.5rem 2.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)) }
figure { margin: .8rem 0 0 }
figure svg { display: block; width: 100%; height: auto; margin: .4rem 0 }
figcaption { font-size: .95rem; color: var(--soft) }
figure > strong, .verdict { display: block; color: var(--ink) }
.verdict b { color: var(--oblivious) } .verdict.fails b { color: var(--plain) }
.wide { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: .95rem; line-height: 1.35; font-variant-numeric: tabular-nums }
th, td { padding: .5rem .8rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }
th { font-weight: 600 } thead :is(th, td) { border-bottom-width: 2px; vertical-align: bottom }
:is(th, td):first-child { padding-left: 0 } tbody th { min-width: 8rem }
.verdicts td { min-width: 6.5rem } .numbers :is(td, thead th) { text-align: right }
td small, th small { color: var(--soft); font-weight: 400 } sup { line-height: 0 }
@media (max-width: 30rem) { table { font-size: .85rem } th, td { padding-inline: .25rem }
  tbody th, .verdicts td { min-width: 0 } }
small, dl { font-size: .9rem } dt { font-weight: 600 } dd { margin: 0 0 .5rem }
code { background: var(--tint); padding: .1em .3em; border-radius: .25em; overflow-wrap: anywhere }
"""
)


@dataclass(frozen=True)
class Facts:
    """How the page was made, as the page says it.

    Attributes
    ----------
    command : str
        Command that makes the page again.
    date : str
        Day on which the page was made.
    versions : dict
        Versions of this distribution, of Python and of dependencies.
    backend : str
        Back end that ran the oblivious map.
    """

    command: str
    date: str
    versions: dict[str, str | None]
    backend: str


def render(table: Table, outcomes: Sequence[Outcome], facts: Facts) -> str:
    """Return the page.

    Parameters
    ----------
    table : Table
        The table that was loaded.
    outcomes : sequence of Outcome
        Outcomes of all contestants. Pictures show the first two side by side: the plain table and the oblivious map.
    facts : Facts
        How the page was made.

    Reveals
        To whoever reads the page: the title and the sizes of the table, and what the host saw. Keys and values of a
        user's own table are not in it.
    """
    pair = outcomes[:2]
    first = pair[0].seen[0].scenario
    asked = len(first.operations)
    title = f"What the host saw when we asked for one {table.noun} {asked:,} times"
    sections = [
        f"<h1>{escape(title)}</h1>",
        f"<p>A table of {len(table):,} {escape(table.noun)}s lies on a computer that we do not trust, the "
        "<em>host</em>. All of it is encrypted: the host can't read a byte. But it sees <em>which page of its "
        f"memory</em> every query touches. We asked for {escape(table.hot_label)} {asked:,} times; every dot is one "
        "query, time runs to the right, and the bars count the touches of each part of memory. In an ordinary "
        "encrypted hash table all of them fall on one line: the host sees that a single row is in demand, and "
        "where it lies. In the oblivious map each query goes to a page drawn at random, so the same question asked "
        f"{asked:,} times looks like any {asked:,} others.</p>",
        _figures(pair, 0),
        "<h2>Two more ways to ask</h2>",
        *(
            f"<h3>{escape(seen.scenario.title)}</h3><p>{escape(seen.scenario.story)}</p>{_figures(pair, place)}"
            for place, seen in enumerate(pair[0].seen)
            if place
        ),
        "<h2>Could the host learn more with statistics?</h2>",
        _audit(outcomes),
        "<h2>What it costs</h2>",
        _costs(outcomes),
        "<h2>What the host still learns</h2>",
        "<ul><li>How many queries there are, and when each one arrives.</li>"
        "<li>The sizes that were chosen: how many rows fit, how long a key and a value are.</li>"
        "<li>That memory was formatted or loaded in bulk, but not how much of it is used.</li></ul>"
        "<p>It does not learn which row is asked for, whether the question was asked before, whether it was a read, "
        "a write or a delete, or whether the row exists. All this rests on one assumption: the small memory beside "
        "the accelerator (HBM), where the map keeps track of the pages, is out of the host's sight. If the host alters "
        "a page, or puts back an old one, the map notices and stops.</p>",
        "<h2>How this page was made</h2>",
        _facts(table, outcomes, facts),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def draw(outcome: Outcome, seen: Seen) -> str:
    """Return the picture of one workload on one contestant."""
    run = Run(
        pages=seen.pages,
        at=seen.at,
        total=outcome.contestant.params.pages,
        operations=len(seen.scenario.operations),
        period=seen.scenario.period,
    )
    return picture(
        run,
        role="oblivious" if outcome.contestant.oblivious else "plain",
        title=f"{outcome.contestant.title}, {seen.scenario.title.lower()}: pages touched, in order of time",
    )


def _figures(pair: Iterable[Outcome], place: int) -> str:
    figures = []
    for outcome in pair:
        seen = outcome.seen[place]
        figures.append(
            f"<figure><strong>{escape(outcome.contestant.title)}</strong>{draw(outcome, seen)}"
            f"<figcaption>{escape(outcome.contestant.story) if place == 0 else ''}"
            f"{_verdict(seen)}</figcaption></figure>"
        )
    return f'<div class="pair">{"".join(figures)}</div>'


def _verdict(seen: Seen) -> str:
    report = seen.report
    if report.passed:
        return f'<span class="verdict"><b>✓ passes</b> all {len(report.findings)} checks of the audit</span>'
    worst = report.failures[0]
    return f'<span class="verdict fails"><b>✗ fails</b> the audit: {escape(worst.means)}</span>'


def _grid(columns: Iterable[str], rows: Iterable[tuple[str, Iterable[str]]], kind: str) -> str:
    """Return a table of HTML cells. Each contestant has a column; each row has a heading and its cells."""
    heads = "".join(f'<th scope="col">{column}</th>' for column in columns)
    lines = "".join(
        f'<tr><th scope="row">{heading}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for heading, cells in rows
    )
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _titles(outcomes: Sequence[Outcome]) -> list[str]:
    return [escape(outcome.contestant.title) for outcome in outcomes]


def _audit(outcomes: Sequence[Outcome]) -> str:
    report = outcomes[1].seen[0].report
    rows = [
        (escape(seen.scenario.title), [_cell(outcome.seen[place]) for outcome in outcomes])
        for place, seen in enumerate(outcomes[0].seen)
    ]
    return (
        "<p>A picture shows only what an eye can see. So the same traces go through an audit "
        "(<code>omap audit</code>). It knows the public sizes alone and asks: is this what independent, "
        "uniformly random pages would look like? It counts what every operation touches, how evenly pages are hit, "
        "how soon they are hit again, which pairs return. A trace that is as it should be fails with a probability "
        f"of at most {_power(report.false_alarm)}, all checks together.</p>"
        + _grid(_titles(outcomes), rows, "verdicts")
    )


def _cell(seen: Seen) -> str:
    report = seen.report
    if report.passed:
        return f'<span class="verdict"><b>✓ passes</b></span><small>{len(report.findings)} checks</small>'
    worst = report.failures[0]
    chance = "impossible by chance" if worst.p_value == 0 else f"chance at most {_power(worst.p_value)}"
    return (
        f'<span class="verdict fails"><b>✗ fails</b> {len(report.failures)} of {len(report.findings)} checks</span>'
        f"<small>clearest: {escape(worst.name)}, {chance}</small>"
    )


def _power(probability: float) -> str:
    mantissa, exponent = f"{probability:.0e}".split("e")
    times = "" if mantissa == "1" else f"{mantissa}·"
    return f"{times}10<sup>{int(exponent)}</sup>".replace("-", "&minus;")


def _costs(outcomes: Sequence[Outcome]) -> str:
    def row(heading: str, note: str, value: Callable[[Outcome], float]) -> tuple[str, list[str]]:
        return f"{heading}<br><small>{note}</small>", [f"{value(outcome):,.0f}" for outcome in outcomes]

    clocked = [outcome for outcome in outcomes if outcome.cycles_per_operation is not None]
    runner = "of Python, or of the simulation" if clocked else "of the Python model"
    rows = [
        row("Bytes an operation", "over PCIe, read and write", lambda o: o.bytes_per_operation),
        row("Host memory", "bytes a key", lambda o: o.contestant.params.host_bytes / o.contestant.params.capacity),
        row("HBM", "bytes a key", lambda o: o.contestant.params.hbm_bytes / o.contestant.params.capacity),
        *([_cycles(outcomes)] if clocked else []),
        row("Operations a second", runner, lambda o: o.operations_per_second),
        row("Keys loaded a second", runner, lambda o: o.loaded_per_second),
        row("Answers checked", "against the source table", lambda o: o.answers),
        row("Answers wrong", "", lambda o: o.wrong),
    ]
    return (
        _grid(_titles(outcomes), rows, "numbers")
        + "".join(map(_speed, clocked))
        + "<p><small>Rates are those of the reference model: Python, one thread, on the machine that made this page; "
        "they vary from run to run, and say nothing about the hardware, which is bound by the bytes over PCIe. The "
        "encrypted hash table is built from the parts of the oblivious map, so that random pages are the only "
        "difference; that is why it has the same sizes.</small></p>"
    )


def _cycles(outcomes: Sequence[Outcome]) -> tuple[str, list[str]]:
    cells = ["&ndash;" if o.cycles_per_operation is None else f"{o.cycles_per_operation:,.1f}" for o in outcomes]
    return "Clock cycles an operation<br><small>of the accelerator, in simulation</small>", cells


def _speed(outcome: Outcome) -> str:
    """Say how many cycles an operation took on a contestant with a clock, for each workload and on average."""
    assert outcome.cycles_per_operation is not None
    assert outcome.clock_mhz is not None
    each = ", ".join(
        f"{escape(seen.scenario.name)} {seen.cycles_per_operation:,.1f}"
        for seen in outcome.seen
        if seen.cycles_per_operation is not None
    )
    rate = 1e6 * outcome.clock_mhz / outcome.cycles_per_operation
    return (
        f"<p>{escape(outcome.contestant.title)}: run by the accelerator as it was generated, simulated cycle by cycle. "
        "What the host saw is what crossed the simulated bus to its memory. Cycles an operation, in batches, the "
        f"filling and emptying of the pipeline included: {each}. At an assumed {outcome.clock_mhz:g} MHz the average "
        f"comes to {rate:,.0f} operations a second. No card was measured.</p>"
    )


def _facts(table: Table, outcomes: Sequence[Outcome], facts: Facts) -> str:
    params = outcomes[1].contestant.params
    hashed = "; hashed to 16 bytes under a secret key, as some are longer or hold a zero byte" if table.hashed else ""
    wrong = sum(outcome.wrong for outcome in outcomes)
    checked = f"{sum(outcome.answers for outcome in outcomes):,} answers, each compared with the source table"
    entries = {
        "Table": f"{escape(table.title)}: {len(table):,} rows, key column <code>{escape(table.key_column)}</code>; "
        f"keys of {table.key_bytes} bytes{hashed}; values of {table.value_bytes} bytes, the whole row as JSON",
        "Sizes of the oblivious map": f"{params.pages:,} pages of {params.page_bytes:,} bytes, "
        f"{params.page_slots} rows each; {params.waiting_slots:,} rows may wait in HBM",
        "Answers": f"{checked}; {wrong:,} wrong",
        "Run by": f"back end <code>{escape(facts.backend)}</code>, "
        + ", ".join(f"{escape(name)} {escape(version)}" for name, version in facts.versions.items() if version),
        "Made": f"{escape(facts.date)} by <code>{escape(facts.command)}</code>",
    }
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{text}</dd>' for name, text in entries.items())}</dl>"
