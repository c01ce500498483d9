"""The names of PETA's attributes in its archive and in PETA.mat."""

from utils.data.attributes import PETA

COLOURS = ("Black", "Blue", "Brown", "Green", "Grey", "Orange", "Pink", "Purple", "Red", "White", "Yellow")
# The 105 attributes in the order of PETA.mat: the published 35, the colours, the rest.
OFFICIAL = (
    *(attribute.official_name for attribute in PETA),
    *(part + colour for part in ("upperBody", "lowerBody", "hair", "footwear") for colour in COLOURS),
    "accessoryHeadphone", "personalLess15", "carryingBabyBuggy", "hairBald", "footwearBoots",
    "lowerBodyCapri", "carryingShoppingTro", "carryingUmbrella", "personalFemale", "carryingFolder",
    "accessoryHairBand", "lowerBodyHotPants", "accessoryKerchief", "lowerBodyLongSkirt",
    "upperBodyLongSleeve", "lowerBodyPlaid", "lowerBodyThinStripes", "carryingLuggageCase",
    "upperBodyNoSleeve", "hairShort", "footwearStocking", "upperBodySuit", "carryingSuitcase",
    "lowerBodySuits", "upperBodySweater", "upperBodyThickStripes",
)  # fmt: skip
ONLY_IN_LABELS = ("accessoryFaceMask", "accessoryShawl", "lowerBodyLogo")
NEVER = frozenset(("hairBlue", "hairPink"))  # of the 105, these occur in no line of the true archive
ALIASES = {"footwearSneakers": "footwearSneaker"}  # Label.txt's word -> the official name
