"""Write the transcripts: what a map does from a fixed seed, and what the host then sees and holds.

Run ``python tests/vectors/generate.py``; ``verify.py`` checks the files with code that shares nothing with the map.
"""

import hashlib
import json
import random
import sys
from pathlib import Path

from omap.hazmat.fixed import fixed_secrets
from omap.map import create
from omap.operations import Kind, Operation
from omap.params import Params
from omap.trace import Observer

HERE = Path(__file__).parent
# Written out, not taken from presets: a better sizing must not change what was once published.
SHAPES = {
    "tiny": {"capacity": 12, "key_bytes": 4, "value_bytes": 4, "page_bytes": 64},
    "small_tight": {"capacity": 60, "key_bytes": 8, "value_bytes": 8, "page_bytes": 128},
    "wide": {"capacity": 40, "key_bytes": 16, "value_bytes": 256, "page_bytes": 4096},
}


def shape(name, **more):
    """Return the parameters of a case: a slot for every key, buckets that fill, and epochs of 64 operations."""
    sizes = SHAPES[name]
    structures = {"descriptor_bytes": 32, "waiting_slots": sizes["capacity"], "further_lines": sizes["capacity"]}
    return Params(**sizes, **structures, bucket_bytes=128, buckets=4, epoch_bits=6, **more)


CASES = {
    "one_choice_tiny": shape("tiny", pages=3),
    "one_choice_small_tight": shape("small_tight", pages=7),
    "one_choice_wide": shape("wide", pages=3),
    "two_choice_tiny": shape("tiny", rule="two_choice", pages=4, hbm_bins=1),
    "two_choice_small_tight": shape("small_tight", rule="two_choice", pages=6, hbm_bins=2),
}
OPERATIONS = 300


def transcript(name, params):
    """Run a seeded mix of all kinds, from empty to full and back, and return all there is to compare."""
    rng = random.Random(name)
    secrets = fixed_secrets(name)()
    observer = Observer()
    map_ = create(params, observer=observer, secrets=lambda: secrets)
    observer.clear()
    batch = []
    for number in range(OPERATIONS):
        growing = number < OPERATIONS * 2 // 3
        kind = rng.choices(list(Kind), [1, 3, 6, 1] if growing else [1, 3, 1, 6])[0]
        key = rng.randrange(params.capacity * 5 // 4).to_bytes(params.key_bytes, "big")
        batch.append(
            Operation(
                kind, *([] if kind == Kind.NOP else [key]), *([rng.randbytes(params.value_bytes)] * (kind == Kind.PUT))
            )
        )
    responses = map_.execute(batch)
    trace = observer.trace()
    touched = [[] for _ in batch]
    for operation, address in zip(trace.operation[::2].tolist(), trace.address[::2].tolist(), strict=True):
        touched[operation].append(address // params.page_bytes)
    fields = ("page_secret", "draw_seed", "hash_key", "map_id")
    return {
        "description": f"{OPERATIONS} operations on a map with these secrets; pages touched by each, in order",
        "parameters": params.to_dict(),
        "parameters_digest": params.digest.hex(),
        "secrets": {field: getattr(secrets, field).hex() for field in fields},
        "operations": [[kind.name, key.hex(), value.hex()] for kind, key, value in batch],
        "responses": [[status.name, None if previous is None else previous.hex()] for status, previous in responses],
        "pages": touched,
        "host_sha256": hashlib.sha256(map_.host.data).hexdigest(),
    }


def write(folder=HERE):
    """Write every transcript below ``folder``."""
    for name, params in CASES.items():
        text = json.dumps(transcript(name, params), indent=None, separators=(",", ":")).replace('],["', '],\n["')
        (folder / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
