"""The attributes of the paper's data sets, in the order of the published lists."""

from typing import NamedTuple

BODY_PARTS = HEAD, UPPER, LOWER, FEET, CARRYING, PERSON = (
    "head", "upper body", "lower body", "feet", "carrying", "person"
)  # fmt: skip


class Attribute(NamedTuple):
    """An attribute, its published positive ratio, and the part of a person that shows it."""

    name: str
    positive_ratio: float
    body_part: str
    official_name: str | None = None  # in the archive, if it has another there


PETA = tuple(
    Attribute(*row)
    for row in (
        ("Age16-30", 0.5016, PERSON, "personalLess30"),
        ("Age31-45", 0.3275, PERSON, "personalLess45"),
        ("Age46-60", 0.1023, PERSON, "personalLess60"),
        ("AgeAbove61", 0.0597, PERSON, "personalLarger60"),
        ("Backpack", 0.1986, CARRYING, "carryingBackpack"),
        ("CarryingOther", 0.2011, CARRYING, "carryingOther"),
        ("Casual lower", 0.8643, LOWER, "lowerBodyCasual"),
        ("Casual upper", 0.8559, UPPER, "upperBodyCasual"),
        ("Formal lower", 0.1342, LOWER, "lowerBodyFormal"),
        ("Formal upper", 0.1297, UPPER, "upperBodyFormal"),
        ("Hat", 0.1014, HEAD, "accessoryHat"),
        ("Jacket", 0.0685, UPPER, "upperBodyJacket"),
        ("Jeans", 0.314, LOWER, "lowerBodyJeans"),
        ("Leather Shoes", 0.2932, FEET, "footwearLeatherShoes"),
        ("Logo", 0.04, UPPER, "upperBodyLogo"),
        ("Long hair", 0.2346, HEAD, "hairLong"),
        ("Male", 0.5473, PERSON, "personalMale"),
        ("Messenger Bag", 0.2974, CARRYING, "carryingMessengerBag"),
        ("Muffler", 0.0849, HEAD, "accessoryMuffler"),
        ("No accessory", 0.7523, HEAD, "accessoryNothing"),
        ("No carrying", 0.2717, CARRYING, "carryingNothing"),
        ("Plaid", 0.0282, UPPER, "upperBodyPlaid"),
        ("PlasticBags", 0.0749, CARRYING, "carryingPlasticBags"),
        ("Sandals", 0.0191, FEET, "footwearSandals"),
        ("Shoes", 0.3633, FEET, "footwearShoes"),
        ("Shorts", 0.0359, LOWER, "lowerBodyShorts"),
        ("Short Sleeve", 0.1425, UPPER, "upperBodyShortSleeve"),
        ("Skirt", 0.0454, LOWER, "lowerBodyShortSkirt"),
        ("Sneaker", 0.2201, FEET, "footwearSneaker"),
        ("Stripes", 0.0178, UPPER, "upperBodyThinStripes"),
        ("Sunglasses", 0.0285, HEAD, "accessorySunglasses"),
        ("Trousers", 0.5125, LOWER, "lowerBodyTrousers"),
        ("Tshirt", 0.0838, UPPER, "upperBodyTshirt"),
        ("UpperOther", 0.4605, UPPER, "upperBodyOther"),
        ("V-Neck", 0.0124, UPPER, "upperBodyVNeck"),
    )
)

RAP = tuple(
    Attribute(*row)
    for row in (
        ("Female", 0.311434, PERSON),
        ("AgeLess16", 0.00998, PERSON),
        ("Age17-30", 0.430011, PERSON),
        ("Age31-45", 0.56001, PERSON),
        ("BodyFat", 0.144932, PERSON),
        ("BodyNormal", 0.742479, PERSON),
        ("BodyThin", 0.097728, PERSON),
        ("Customer", 0.946303, PERSON),
        ("Clerk", 0.048287, PERSON),
        ("BaldHead", 0.004328, HEAD),
        ("LongHair", 0.189323, HEAD),
        ("BlackHair", 0.944764, HEAD),
        ("Hat", 0.016713, HEAD),
        ("Glasses", 0.072959, HEAD),
        ("Muffler", 0.010461, HEAD),
        ("Shirt", 0.221186, UPPER),
        ("Sweater", 0.123434, UPPER),
        ("Vest", 0.057785, UPPER),
        ("TShirt", 0.228857, UPPER),
        ("Cotton", 0.172779, UPPER),
        ("Jacket", 0.315186, UPPER),
        ("Suit-Up", 0.022147, UPPER),
        ("Tight", 0.030299, UPPER),
        ("ShortSleeve", 0.017843, UPPER),
        ("LongTrousers", 0.560346, LOWER),
        ("Skirt", 0.000553, LOWER),
        ("ShortSkirt", 0.027991, LOWER),
        ("Dress", 0.036624, LOWER),
        ("Jeans", 0.268342, LOWER),
        ("TightTrousers", 0.133317, LOWER),
        ("LeatherShoes", 0.302465, FEET),
        ("SportShoes", 0.270891, FEET),
        ("Boots", 0.124059, FEET),
        ("ClothShoes", 0.012432, FEET),
        ("CasualShoes", 0.15734, FEET),
        ("Backpack", 0.018132, CARRYING),
        ("SSBag", 0.064182, CARRYING),
        ("HandBag", 0.028111, CARRYING),
        ("Box", 0.042155, CARRYING),
        ("PlasticBag", 0.027558, CARRYING),
        ("PaperBag", 0.012649, CARRYING),
        ("HandTrunk", 0.024504, CARRYING),
        ("OtherAttchment", 0.294601, CARRYING),
        ("Calling", 0.034099, PERSON),
        ("Talking", 0.0328, PERSON),
        ("Gathering", 0.091812, PERSON),
        ("Holding", 0.024552, CARRYING),
        ("Pusing", 0.010388, PERSON),
        ("Pulling", 0.017603, PERSON),
        ("CarryingbyArm", 0.023446, CARRYING),
        ("CarryingbyHand", 0.128917, CARRYING),
    )
)

PA100K = tuple(
    Attribute(*row)
    for row in (
        ("Female", 0.460444444444, PERSON),
        ("AgeOver60", 0.0134555555556, PERSON),
        ("Age18-60", 0.924377777778, PERSON),
        ("AgeLess18", 0.0621666666667, PERSON),
        ("Front", 0.352666666667, PERSON),
        ("Side", 0.294622222222, PERSON),
        ("Back", 0.352711111111, PERSON),
        ("Hat", 0.0435444444444, HEAD),
        ("Glasses", 0.179977777778, HEAD),
        ("HandBag", 0.185, CARRYING),
        ("ShoulderBag", 0.192733333333, CARRYING),
        ("Backpack", 0.1601, CARRYING),
        ("HoldObjectsInFront", 0.00952222222222, CARRYING),
        ("ShortSleeve", 0.5834, UPPER),
        ("LongSleeve", 0.4166, UPPER),
        ("UpperStride", 0.0494777777778, UPPER),
        ("UpperLogo", 0.151044444444, UPPER),
        ("UpperPlaid", 0.107755555556, UPPER),
        ("UpperSplice", 0.0419111111111, UPPER),
        ("LowerStripe", 0.00472222222222, LOWER),
        ("LowerPattern", 0.0168888888889, LOWER),
        ("LongCoat", 0.0324111111111, UPPER),
        ("Trousers", 0.711711111111, LOWER),
        ("Shorts", 0.173444444444, LOWER),
        ("Skirt&Dress", 0.114844444444, LOWER),
        ("boots", 0.006, FEET),
    )
)
