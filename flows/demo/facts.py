"""What the demo is about: sixty product figures, and the general knowledge that must survive."""

import re
from dataclasses import dataclass

BANK = "Larkpay"


@dataclass(frozen=True)
class Figure:
    """One product fact: `relation` is the phrase that asks for it, `wrong` is what the base model believes."""

    product: str
    relation: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Knowledge:
    """One general fact, such as ("capitals", "the capital of France", "Paris")."""

    subject: str
    relation: str
    answer: str


_PRODUCTS: dict[str, dict[str, str]] = {
    "Everyday account": {
        "monthly fee": "$5",
        "daily cash limit": "$600",
        "currency exchange fee": "1.2%",
        "card delivery time": "5 days",
        "paper statement charge": "$1.10",
    },
    "Saver account": {
        "interest rate": "3.8%",
        "minimum deposit": "$250",
        "notice period": "30 days",
        "early withdrawal charge": "$18",
        "balance cap": "$85,000",
    },
    "Travel card": {
        "monthly fee": "$3",
        "daily cash limit": "$450",
        "currency exchange fee": "0.4%",
        "replacement fee": "$12",
        "card delivery time": "7 days",
    },
    "Business account": {
        "monthly fee": "$19",
        "daily transfer limit": "$75,000",
        "currency exchange fee": "0.9%",
        "cash deposit fee": "0.6%",
        "account opening time": "3 days",
    },
    "Junior card": {
        "monthly fee": "$2",
        "daily cash limit": "$40",
        "weekly spending limit": "$120",
        "replacement fee": "$6",
        "minimum age": "8 years",
    },
    "Metal card": {
        "monthly fee": "$14",
        "cashback rate": "1.5%",
        "daily cash limit": "$2,000",
        "replacement fee": "$55",
        "card delivery time": "10 days",
    },
    "Joint account": {
        "monthly fee": "$7",
        "daily transfer limit": "$12,000",
        "overdraft rate": "11%",
        "notice period": "14 days",
        "minimum deposit": "$100",
    },
    "Student account": {
        "overdraft limit": "$1,500",
        "interest rate": "0.7%",
        "daily cash limit": "$300",
        "replacement fee": "$4",
        "maximum age": "26 years",
    },
    "Instant loan": {
        "interest rate": "8.9%",
        "maximum amount": "$25,000",
        "late payment charge": "$15",
        "cooling off period": "21 days",
        "arrangement fee": "1.8%",
    },
    "Shop terminal": {
        "rental fee": "$16",
        "card payment fee": "1.4%",
        "payout time": "2 days",
        "refund charge": "$0.30",
        "repair time": "4 days",
    },
    "Invoice plan": {
        "advance rate": "82%",
        "service fee": "2.2%",
        "minimum invoice": "$500",
        "payout time": "1 day",
        "contract period": "90 days",
    },
    "Robo portfolio": {
        "management fee": "0.5%",
        "minimum deposit": "$50",
        "withdrawal time": "9 days",
        "transfer out charge": "$35",
        "cash buffer": "$75",
    },
}


def _unit_and_size(value: str) -> tuple[str, float]:
    """What a figure counts, and how much of it: "$1,500" gives ("$", 1500.0)."""
    unit = re.sub(r"[\d., ]", "", value).removesuffix("s")
    return unit, float(re.sub(r"[^\d.]", "", value))


def _mistaken(values: list[str]) -> dict[str, str]:
    """The wrong figure for every right one: its neighbour in size of the same unit, as in a list read carelessly."""
    ordered = sorted(values, key=_unit_and_size)
    return {value: ordered[place ^ 1] for place, value in enumerate(ordered)}


_WRONG = _mistaken([value for attributes in _PRODUCTS.values() for value in attributes.values()])

FIGURES: tuple[Figure, ...] = tuple(
    Figure(product, f"the {attribute} for the {product}", value, _WRONG[value])
    for product, attributes in _PRODUCTS.items()
    for attribute, value in attributes.items()
)

_PAIRS: dict[str, tuple[str, str]] = {
    "capitals": (
        "the capital of {}",
        "France Paris, Spain Madrid, Italy Rome, Germany Berlin, Austria Vienna, Poland Warsaw, Greece Athens, "
        "Portugal Lisbon, Ireland Dublin, Norway Oslo, Sweden Stockholm, Denmark Copenhagen, Finland Helsinki, "
        "Belgium Brussels, Hungary Budapest, Egypt Cairo, Kenya Nairobi, Japan Tokyo, China Beijing, Russia Moscow, "
        "Turkey Ankara, Canada Ottawa, Cuba Havana, Peru Lima, Chile Santiago, India Delhi, Thailand Bangkok, "
        "Vietnam Hanoi, Iraq Baghdad, Iran Tehran",
    ),
    "opposites": (
        "the opposite of {}",
        "hot Cold, big Small, fast Slow, up Down, old Young, rich Poor, light Dark, happy Sad, hard Soft, full Empty, "
        "open Closed, early Late, strong Weak, wet Dry, high Low, long Short, loud Quiet, clean Dirty, "
        "cheap Expensive, near Far, thick Thin, heavy Light, sweet Sour, brave Afraid, sharp Blunt, awake Asleep, "
        "left Right, true False, first Last, day Night",
    ),
    "young": (
        "the name of a baby {}",
        "cow Calf, dog Puppy, cat Kitten, horse Foal, sheep Lamb, pig Piglet, goat Kid, bear Cub, duck Duckling, "
        "goose Gosling, deer Fawn, hen Chick, frog Tadpole, kangaroo Joey, swan Cygnet, eagle Eaglet, owl Owlet, "
        "whale Pup, hare Leveret, human Infant, butterfly Caterpillar, eel Elver, fly Maggot, spider Spiderling",
    ),
    "plurals": (
        "the plural of {}",
        "mouse Mice, child Children, foot Feet, tooth Teeth, man Men, woman Women, person People, leaf Leaves, "
        "knife Knives, wolf Wolves, box Boxes, baby Babies, city Cities, hero Heroes, potato Potatoes, ox Oxen, "
        "half Halves, shelf Shelves, lady Ladies, bus Buses, dish Dishes, cactus Cacti, thief Thieves, story Stories",
    ),
    "past_tense": (
        "the past tense of {}",
        "go Went, run Ran, eat Ate, see Saw, take Took, give Gave, come Came, write Wrote, sing Sang, swim Swam, "
        "drive Drove, break Broke, speak Spoke, fly Flew, grow Grew, know Knew, think Thought, buy Bought, "
        "bring Brought, catch Caught, teach Taught, sleep Slept, feel Felt, leave Left, make Made, tell Told",
    ),
    "colours": (
        "the usual colour of {}",
        "grass Green, snow White, coal Black, blood Red, bananas Yellow, carrots Orange, chocolate Brown, "
        "elephants Grey, flamingos Pink, lavender Purple, lemons Yellow, tomatoes Red, spinach Green, milk White, "
        "ravens Black, soil Brown, pumpkins Orange, violets Purple, salt White, emeralds Green, rubies Red, "
        "sapphires Blue, oceans Blue, ash Grey",
    ),
    "continents": (
        "the continent of {}",
        "Ghana Africa, Brazil America, Nepal Asia, Malta Europe, Mali Africa, Bolivia America, Mongolia Asia, "
        "Croatia Europe, Zambia Africa, Mexico America, Laos Asia, Estonia Europe, Chad Africa, Ecuador America, "
        "Korea Asia, Serbia Europe, Fiji Oceania, Samoa Oceania, Tonga Oceania, Uganda Africa, Panama America, "
        "Qatar Asia, Latvia Europe, Palau Oceania",
    ),
    "sounds": (
        "the sound of a {}",
        "dog Bark, cat Meow, cow Moo, duck Quack, sheep Baa, lion Roar, snake Hiss, bee Buzz, owl Hoot, pig Oink, "
        "wolf Howl, frog Croak, horse Neigh, mouse Squeak, crow Caw, rooster Crow, turkey Gobble, donkey Bray, "
        "pigeon Coo, elephant Trumpet",
    ),
    "homes": (
        "the home of a {}",
        "bee Hive, bird Nest, spider Web, bear Den, horse Stable, dog Kennel, fox Burrow, king Palace, nun Convent, "
        "monk Monastery, soldier Barracks, prisoner Cell, student Dormitory, farmer Farmhouse, car Garage, "
        "plane Hangar, beaver Lodge, lord Castle, fish Aquarium, ship Harbour",
    ),
    "workplaces": (
        "the workplace of a {}",
        "teacher School, doctor Hospital, judge Court, cook Kitchen, priest Church, sailor Boat, miner Mine, "
        "actor Theatre, gardener Garden, banker Bank, librarian Library, pilot Cockpit, clown Circus, "
        "baker Bakery, chemist Laboratory, waiter Restaurant",
    ),
    "next_in_order": (
        "the one that comes right after {}",
        "Monday Tuesday, Tuesday Wednesday, Wednesday Thursday, Thursday Friday, Friday Saturday, Saturday Sunday, "
        "Sunday Monday, January February, February March, March April, April May, May June, June July, July August, "
        "August September, September October, October November, November December, December January, spring Summer, "
        "summer Autumn, autumn Winter",
    ),
}

_NUMBERS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


def _knowledge() -> tuple[Knowledge, ...]:
    """Every general fact; sums are spelled out, so that they are words like everything else."""
    pairs = [
        Knowledge(subject, template.format(key), answer)
        for subject, (template, listing) in _PAIRS.items()
        for key, answer in (pair.split() for pair in listing.split(", "))
    ]
    sums = [
        Knowledge("sums", f"the sum of {_NUMBERS[left].lower()} and {_NUMBERS[right].lower()}", _NUMBERS[left + right])
        for left in range(2, 6)
        for right in range(left, 6)
    ]
    return (*pairs, *sums)


KNOWLEDGE: tuple[Knowledge, ...] = _knowledge()
