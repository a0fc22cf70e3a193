"""Which tools are made up: of random words in training, and of other words where only tests offer them?"""

from deploy.pocket.families import words
from deploy.pocket.families.draw import Draw, is_held_out
from deploy.pocket.families.toolbox import FIXED, Parameter, Tool
from deploy.pocket.families.words import listed

VERBS = listed("""
    add build call check clean close count copy cut draw drop fetch fill find fix get give keep lift list
    lock make mark mix move name open order pack paint park pay pick plan print pull push put read rent
    reset ring rotate run save scan seal sell send set ship show sign sort start stop store test tie turn
    update wash watch weigh write
""")
NOUNS = listed("""
    account alarm archive badge barrel battery bench bike bill boat bottle bucket cabin cable camera card
    carpet cart chart chest coin crane curtain deck device disk door drawer drill engine fan fence field
    file filter folder frame gate gear glass goods grid hose invoice job journal key lamp letter lever
    lift line load lock machine map meter model motor order package page panel paper pipe plate poster
    printer pump queue rack record report robot roof route saw screen sensor shelf shop signal stage
    station stock switch table tank task tent ticket tool track tray truck tube valve van vault vessel
    wagon wheel wire zone
""")
PARAMETERS = listed("""
    account age amount angle area band base batch bonus branch budget buyer category channel client code
    colour company count country day depth desk distance district duration email factor fee field floor
    format goal grade group guest height hour index issue kind label lane length level limit location
    margin mass maker member message method mode month number offset option owner page part path percent
    period person phase phone piece place plan port position power price priority product quantity rate
    reason region remark role room row scale score section seller shape side size source speed stage
    start state status step stock street style subject supplier target team term text theme title topic
    total track type unit urgency user value version visitor voltage volume weight width year zip
""")
KINDS = ("word", "name", "city", "code", "date", "integer", "integer", "number", "boolean", "choice")
VERBAL = (
    "Please {verb} the {noun} with {said}.",
    "{Verb} the {noun}: {said}.",
    "I want to {verb} a {noun} with {said}.",
)
PLAIN = ("Call {name} with {said}.", "Use {name}: {said}.", "Run {name} with {said}.")
SAID = ("{parameter} {value}", "{parameter} set to {value}", "the {parameter} {value}")
JOINED = ((", ", " and "), (", ", ", "), (" and ", " and "))

FIXED_PARAMETERS = {parameter.name for tool in FIXED for parameter in tool.parameters}
HELD_OUT_NAMES = (
    "calibrate_telescope",
    "harvest_orchard",
    "dispatch_courier",
    "polish_violin",
    "inspect_reactor",
    "schedule_ferry",
    "tune_antenna",
    "appoint_captain",
    "insulate_attic",
    "measure_glacier",
)
"""Written out because no tool of training has a word of them; the other held-out tools are drawn by hash."""
HELD_OUT_WORDS = {word for name in HELD_OUT_NAMES for word in name.split("_")}
HELD_OUT_PARAMETERS = listed("""
    altitude basin cadence dialect epoch fuel gravity humidity intensity journey kilometres latitude
    mileage nickname orbit pressure quota radius salary tension umbrella velocity warranty yield
""")


def made_up_tool(draw: Draw, most: int = 4) -> Tool:
    """A tool of one to `most` parameters; held-out tools share no name and no parameter with training."""
    name = _name(draw)
    verb, noun = name.split("_")
    parameters: list[Parameter] = []
    for parameter in _parameters(draw, min(most, draw.of((1, 2, 2, 3, 3, 4)))):
        kind = draw.of(KINDS)
        choices = tuple(dict.fromkeys(words.word(draw) for _ in range(3))) if kind == "choice" else ()
        optional = bool(parameters) and draw.chance(0.25)
        parameters.append(Parameter(parameter, kind, choices, optional))
    description = draw.of(("{verb} the {noun}", "{verb} a {noun}", "Function to {verb} the {noun}"))
    return Tool(name, description.format(verb=verb, noun=noun).capitalize(), tuple(parameters))


def _name(draw: Draw) -> str:
    if draw.split == "held_out" and draw.chance(0.5):
        return draw.of(HELD_OUT_NAMES)

    def sample() -> tuple[str]:
        noun = words.made_up_outside(draw, HELD_OUT_WORDS) if draw.chance(0.5) else draw.of(NOUNS)
        verb = words.made_up_outside(draw, HELD_OUT_WORDS) if draw.chance(0.4) else draw.of(VERBS)
        return (f"{verb}_{noun}",)

    return draw.content(sample)[0]


def _parameters(draw: Draw, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        name = _parameter(draw)
        if name not in found:
            found.append(name)
    return found


def _parameter(draw: Draw) -> str:
    if draw.split == "held_out" and draw.chance(0.5):
        return draw.of(HELD_OUT_PARAMETERS)

    def sample() -> tuple[str]:
        made_up = draw.chance(0.5)
        first = words.made_up_outside(draw, HELD_OUT_PARAMETERS) if made_up else draw.of(PARAMETERS)
        return (f"{first}_{draw.of(PARAMETERS)}" if draw.chance(0.25) else first,)

    def is_held_out_parameter(content: tuple[str]) -> bool:
        return content[0] not in FIXED_PARAMETERS and is_held_out("parameter", *content)

    return draw.content(sample, is_held_out_parameter)[0]


def made_up_sentence(draw: Draw, tool: Tool, values: dict[str, str]) -> str:
    """A wish for the tool that names each parameter given and its value."""
    form = draw.of(SAID)
    said = [form.format(parameter=name.replace("_", " "), value=value) for name, value in values.items()]
    comma, last = draw.of(JOINED)
    verb, noun = tool.name.split("_", 1)
    text = last.join([comma.join(said[:-1]), said[-1]]) if len(said) > 1 else said[0]
    template = draw.of(VERBAL if draw.chance(0.75) else PLAIN)
    return template.format(
        verb=verb, Verb=verb.capitalize(), noun=noun.replace("_", " "), name=tool.name, said=text
    )
