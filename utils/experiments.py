"""The data sets: attribute names, published positive ratios, where pictures and lists are looked for."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from utils.list_file import DataError, read_text

REPOSITORY = Path(__file__).resolve().parents[1]
MAX_ATTRIBUTES = 1000

# Attribute, published positive ratio, name in the official archive; in the order of the published lists.
PETA = (
    ("Age16-30", 0.5016, "personalLess30"),
    ("Age31-45", 0.3275, "personalLess45"),
    ("Age46-60", 0.1023, "personalLess60"),
    ("AgeAbove61", 0.0597, "personalLarger60"),
    ("Backpack", 0.1986, "carryingBackpack"),
    ("CarryingOther", 0.2011, "carryingOther"),
    ("Casual lower", 0.8643, "lowerBodyCasual"),
    ("Casual upper", 0.8559, "upperBodyCasual"),
    ("Formal lower", 0.1342, "lowerBodyFormal"),
    ("Formal upper", 0.1297, "upperBodyFormal"),
    ("Hat", 0.1014, "accessoryHat"),
    ("Jacket", 0.0685, "upperBodyJacket"),
    ("Jeans", 0.314, "lowerBodyJeans"),
    ("Leather Shoes", 0.2932, "footwearLeatherShoes"),
    ("Logo", 0.04, "upperBodyLogo"),
    ("Long hair", 0.2346, "hairLong"),
    ("Male", 0.5473, "personalMale"),
    ("Messenger Bag", 0.2974, "carryingMessengerBag"),
    ("Muffler", 0.0849, "accessoryMuffler"),
    ("No accessory", 0.7523, "accessoryNothing"),
    ("No carrying", 0.2717, "carryingNothing"),
    ("Plaid", 0.0282, "upperBodyPlaid"),
    ("PlasticBags", 0.0749, "carryingPlasticBags"),
    ("Sandals", 0.0191, "footwearSandals"),
    ("Shoes", 0.3633, "footwearShoes"),
    ("Shorts", 0.0359, "lowerBodyShorts"),
    ("Short Sleeve", 0.1425, "upperBodyShortSleeve"),
    ("Skirt", 0.0454, "lowerBodyShortSkirt"),
    ("Sneaker", 0.2201, "footwearSneaker"),
    ("Stripes", 0.0178, "upperBodyThinStripes"),
    ("Sunglasses", 0.0285, "accessorySunglasses"),
    ("Trousers", 0.5125, "lowerBodyTrousers"),
    ("Tshirt", 0.0838, "upperBodyTshirt"),
    ("UpperOther", 0.4605, "upperBodyOther"),
    ("V-Neck", 0.0124, "upperBodyVNeck"),
)
# Attribute, published positive ratio.
RAP = (
    ("Female", 0.311434),
    ("AgeLess16", 0.00998),
    ("Age17-30", 0.430011),
    ("Age31-45", 0.56001),
    ("BodyFat", 0.144932),
    ("BodyNormal", 0.742479),
    ("BodyThin", 0.097728),
    ("Customer", 0.946303),
    ("Clerk", 0.048287),
    ("BaldHead", 0.004328),
    ("LongHair", 0.189323),
    ("BlackHair", 0.944764),
    ("Hat", 0.016713),
    ("Glasses", 0.072959),
    ("Muffler", 0.010461),
    ("Shirt", 0.221186),
    ("Sweater", 0.123434),
    ("Vest", 0.057785),
    ("TShirt", 0.228857),
    ("Cotton", 0.172779),
    ("Jacket", 0.315186),
    ("Suit-Up", 0.022147),
    ("Tight", 0.030299),
    ("ShortSleeve", 0.017843),
    ("LongTrousers", 0.560346),
    ("Skirt", 0.000553),
    ("ShortSkirt", 0.027991),
    ("Dress", 0.036624),
    ("Jeans", 0.268342),
    ("TightTrousers", 0.133317),
    ("LeatherShoes", 0.302465),
    ("SportShoes", 0.270891),
    ("Boots", 0.124059),
    ("ClothShoes", 0.012432),
    ("CasualShoes", 0.15734),
    ("Backpack", 0.018132),
    ("SSBag", 0.064182),
    ("HandBag", 0.028111),
    ("Box", 0.042155),
    ("PlasticBag", 0.027558),
    ("PaperBag", 0.012649),
    ("HandTrunk", 0.024504),
    ("OtherAttchment", 0.294601),
    ("Calling", 0.034099),
    ("Talking", 0.0328),
    ("Gathering", 0.091812),
    ("Holding", 0.024552),
    ("Pusing", 0.010388),
    ("Pulling", 0.017603),
    ("CarryingbyArm", 0.023446),
    ("CarryingbyHand", 0.128917),
)
PA100K = (
    ("Female", 0.460444444444),
    ("AgeOver60", 0.0134555555556),
    ("Age18-60", 0.924377777778),
    ("AgeLess18", 0.0621666666667),
    ("Front", 0.352666666667),
    ("Side", 0.294622222222),
    ("Back", 0.352711111111),
    ("Hat", 0.0435444444444),
    ("Glasses", 0.179977777778),
    ("HandBag", 0.185),
    ("ShoulderBag", 0.192733333333),
    ("Backpack", 0.1601),
    ("HoldObjectsInFront", 0.00952222222222),
    ("ShortSleeve", 0.5834),
    ("LongSleeve", 0.4166),
    ("UpperStride", 0.0494777777778),
    ("UpperLogo", 0.151044444444),
    ("UpperPlaid", 0.107755555556),
    ("UpperSplice", 0.0419111111111),
    ("LowerStripe", 0.00472222222222),
    ("LowerPattern", 0.0168888888889),
    ("LongCoat", 0.0324111111111),
    ("Trousers", 0.711711111111),
    ("Shorts", 0.173444444444),
    ("Skirt&Dress", 0.114844444444),
    ("boots", 0.006),
)


@dataclass(frozen=True)
class Experiment:
    """A data set: K attributes in the order of the labels, and its default places.

    `positive_ratio` holds the published constants, None where the training list's own count.
    `train_lists` and `val_lists` are file names under the root, looked for in this order.
    """

    name: str
    root: Path
    attributes: tuple[str, ...]
    positive_ratio: tuple[float, ...] | None = None
    official_name: tuple[str, ...] | None = None
    train_lists: tuple[str, ...] = ("train.txt", "train_val.txt")
    val_lists: tuple[str, ...] = ("test.txt",)


def published(name: str, table: tuple[tuple, ...]) -> Experiment:
    """Return one of the paper's data sets; its lists are found under upstream's names as well."""
    attributes, positive_ratio, *official_name = zip(*table, strict=True)
    return Experiment(
        name,
        Path("/data/teco-data", name),
        attributes,
        positive_ratio,
        *official_name,
        train_lists=(f"{name.upper()}_train_list.txt", *Experiment.train_lists),
        val_lists=(f"{name.upper()}_test_list.txt", *Experiment.val_lists),
    )


EXPERIMENTS = {
    "peta": published("peta", PETA),
    "rap": published("rap", RAP),
    "pa100k": published("pa100k", PA100K),
    "synthetic": replace(
        published("peta", PETA), name="synthetic", root=REPOSITORY / "data" / "synthetic", positive_ratio=None
    ),
}


def get_experiment(name: str) -> Experiment:
    """Return an experiment by name; DataError listing the known ones where there is none."""
    if name not in EXPERIMENTS:
        known = ", ".join(EXPERIMENTS)
        raise DataError(f"unknown experiment {name!r}; choose {known}, or custom with --attributes FILE")
    return EXPERIMENTS[name]


def custom_experiment(attributes_file) -> Experiment:
    """Return the experiment `custom` with the attributes of a file, 1 to 1,000, one a line.

    Blank lines are skipped. Its default root is the working directory. Raises DataError naming the file,
    and the line of a name that is there twice.
    """
    line_of: dict[str, int] = {}
    for number, line in enumerate(read_text(attributes_file).split("\n"), start=1):
        name = " ".join(line.split())
        if name in line_of:
            raise DataError(
                f"{attributes_file}:{number}: attribute {name!r} is on line {line_of[name]} already; "
                "give each attribute a name of its own"
            )
        if name:
            line_of[name] = number
        if len(line_of) > MAX_ATTRIBUTES:
            raise DataError(f"{attributes_file}:{number}: more than {MAX_ATTRIBUTES} attributes; give fewer")
    if not line_of:
        raise DataError(f"{attributes_file} names no attributes; write one name a line")
    return Experiment("custom", Path(), tuple(line_of))


def find_root(experiment: Experiment, data_root=None) -> Path:
    """Return the directory that list paths are relative to, whether it exists or not.

    It is `data_root`, else the environment variable ALM_DATA_ROOT, which names this directory or the one
    that holds it as <experiment>/, else the experiment's default. `synthetic` is drawn where it is asked
    for, so the variable, which is about real data, does not move it.
    """
    if data_root is not None:
        return Path(data_root)
    variable = os.environ.get("ALM_DATA_ROOT")
    if not variable or experiment.name == "synthetic":
        return experiment.root
    inner = Path(variable, experiment.name)
    return inner if inner.is_dir() else Path(variable)


def resolve_paths(
    experiment: Experiment, data_root=None, train_list=None, val_list=None, *, train_required: bool = True
) -> tuple[Path, Path | None, Path | None]:
    """Return root, training list and evaluation list.

    A list given is looked for as it is, then under the root. By default the experiment's names are looked
    for under the root; where none of them is there the evaluation list is None, and so is the training list
    unless `train_required`. Raises DataError where the root or a required list is missing.
    """
    root = find_root(experiment, data_root)
    if not root.is_dir():
        raise DataError(
            f"{root}, the root of {experiment.name}, is not a directory; name another with --data_root, "
            "or use --experiment synthetic, which needs no download"
        )
    train = find_list(root, train_list, experiment.train_lists, "--train_list")
    if train is None and train_required:
        names = ", ".join(experiment.train_lists)
        raise DataError(f"no training list in {root} (looked for {names}); name one with --train_list")
    return root, train, find_list(root, val_list, experiment.val_lists, "--val_list")


def find_list(root: Path, given, default_names: tuple[str, ...], option: str) -> Path | None:
    """Return the list given, which must exist, or the first default one that exists, or None."""
    candidates = [root / name for name in default_names] if given is None else [Path(given), root / given]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None and given is not None:
        raise DataError(f"list {given} found neither as it is nor in {root}; mend {option}")
    return found
