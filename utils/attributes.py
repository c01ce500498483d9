"""The attributes of the paper's data sets, in the order of the published lists."""

from typing import NamedTuple


class Attribute(NamedTuple):
    """One attribute: its name, its published positive ratio, its name in the official archive."""

    name: str
    positive_ratio: float
    official_name: str | None = None


PETA = tuple(
    Attribute(*row)
    for row in (
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
)

RAP = tuple(
    Attribute(*row)
    for row in (
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
)

PA100K = tuple(
    Attribute(*row)
    for row in (
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
)
