"""`python -m serve_app simulate|capacity|divide`: what is said of scenarios on the command line?"""

import json
import sys
from argparse import Namespace
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from serve_app.errors import ConfigError
from serve_app.simulator import outcome
from serve_app.simulator.capacity import capacity
from serve_app.simulator.cells import simulate_cells
from serve_app.simulator.cluster import Result
from serve_app.simulator.division import choose, divisions
from serve_app.simulator.plot import plot
from serve_app.simulator.scenario import Closed, Scenario, load


def run(options: Namespace) -> str:
    """Do what was asked, and return what there is to print. Raises ConfigError."""
    if options.command == "capacity":
        return _capacity(load(options.file), options.json)
    if options.command == "divide":
        return _divide(load(options.file), options.json)
    files: list[Path] = [*([options.file] if options.file else []), *(options.compare or [])]
    if options.plot and not options.plot.parent.is_dir():
        raise ConfigError([f"--plot={options.plot}: there is no folder {options.plot.parent}"])
    stems = Counter(file.stem for file in files)
    names = [file.stem if stems[file.stem] == 1 else str(file) for file in files]
    results = {name: _simulate(name, load(file)) for name, file in zip(names, files, strict=True)}
    if options.plot:
        try:
            plot(results, options.plot)
        except (OSError, ValueError) as error:
            raise ConfigError([f"--plot={options.plot}: {error}"]) from None
    summaries = {name: outcome.summarise(result) for name, result in results.items()}
    if options.json:
        return json.dumps(
            {name: json.loads(outcome.as_json(one)) for name, one in summaries.items()}, indent=2
        )
    return outcome.as_text(summaries)


def _simulate(name: str, scenario: Scenario) -> Result:
    source = scenario.arrivals
    total = source.num_requests if isinstance(source, Closed) else None
    # disable=None: only on terminals.
    with tqdm(total=total, desc=name, unit=" requests", disable=None, file=sys.stderr) as bar:
        return simulate_cells(scenario, bar.update)


def _capacity(scenario: Scenario, is_json: bool) -> str:
    with tqdm(desc="clusters", disable=None, file=sys.stderr) as bar:
        replicas, summary = capacity(scenario, lambda *_: bar.update())
    if is_json:
        return json.dumps({"simulated": True, "replicas": replicas, "summary": asdict(summary)}, indent=2)
    num_gpus = sum(num * scenario.pools[name].plan.value().world_size for name, num in replicas.items())
    sizes = ", ".join(f"{name}: {num}" for name, num in replicas.items())
    return f"{num_gpus} {scenario.gpu} ({sizes})\n\n{outcome.as_text({'capacity': summary})}"


def _divide(scenario: Scenario, is_json: bool) -> str:
    goodputs = {
        name: outcome.summarise(_simulate(name, one)).goodput_per_s for name, one in divisions(scenario)
    }
    chosen = choose(goodputs)
    if is_json:
        return json.dumps({"simulated": True, "goodput_per_s": goodputs, "chosen": chosen}, indent=2)
    width = max(map(len, goodputs))
    lines = [f"{name:<{width}}  {value:8.2f}" for name, value in goodputs.items()]
    return "\n".join(["goodput, requests/s; simulated, not measured", *lines, f"to take: {chosen}"])
