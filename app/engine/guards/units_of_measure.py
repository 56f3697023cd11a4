"""Units by the ways they are written, with their dimension and their factor to its base."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: its name, its dimension, and how many of the dimension's base one of it is."""

    name: str
    dimension: str
    factor: float


# name, factor, other ways to write it; short ones are told from words by the number before them
LENGTH = """
    millimetre 0.001 mm millimetres millimeter millimeters
    centimetre 0.01 cm centimetres centimeter centimeters
    metre 1 m metres meter meters
    kilometre 1000 km kilometres kilometer kilometers kms
    inch 0.0254 in inches ″ "
    foot 0.3048 ft feet
    yard 0.9144 yd yds yards
    mile 1609.344 mi miles
    fathom 1.8288 fathoms
"""
AREA = """
    square_metre 1 m² sqm m2 square-metres square-metre square-meters square-meter
    square_foot 0.0929 ft² sqft square-feet square-foot
    hectare 10000 ha hectares
    acre 4046.86 acres
"""
VOLUME = """
    millilitre 0.001 ml millilitres milliliter milliliters
    centilitre 0.01 cl centilitres
    litre 1 l L litres liter liters
    gallon 3.785 gal gallons
    cubic_metre 1000 m³ m3 cubic-metres cubic-metre cubic-meters
    cup 0.24 cups
    tablespoon 0.015 tbsp tablespoons
    teaspoon 0.005 tsp teaspoons
    pint 0.568 pints
"""
MASS = """
    microgram 0.000001 mcg µg μg micrograms
    milligram 0.001 mg milligrams
    gram 1 g grams gramme grammes gr
    kilogram 1000 kg kilograms kilo kilos kgs
    tonne 1000000 tonnes tons ton
    ounce 28.35 oz ounces
    pound 453.6 lb lbs pounds
    stone 6350 stones
"""
TIME = """
    microsecond 0.000001 µs μs microseconds
    millisecond 0.001 ms milliseconds
    second 1 s sec secs seconds
    minute 60 min mins minutes
    hour 3600 h hr hrs hours
    day 86400 d days night nights
    week 604800 wk weeks
    month 2629800 months
    year 31557600 yr yrs years y
"""
DATA = """
    kilobyte 1000 kB KB kilobytes
    megabyte 1000000 MB megabytes
    gigabyte 1000000000 GB gigabytes gigs gig
    terabyte 1000000000000 TB terabytes
"""
RATE_OF_DATA = """
    megabit_per_second 1 Mbit/s Mbit Mb Mbps mbps mbit
    megabyte_per_second 8 Mbyte/s MB/s Mbyte mbyte
    gigabit_per_second 1000 Gbit/s Gbit Gbps gbps gbit
"""
ENERGY = """
    watt_hour 1 Wh
    kilowatt_hour 1000 kWh kwh
    megawatt_hour 1000000 MWh mwh
"""
POWER = """
    milliwatt 0.001 mW
    watt 1 W w watts
    kilowatt 1000 kW kw kilowatts
    megawatt 1000000 MW megawatts
    horsepower 745.7 hp
"""
PRESSURE = """
    millibar 0.001 mbar
    bar 1 bars
    psi 0.0689
    pascal 0.00001 Pa
"""
CURRENT = """
    milliampere 0.001 mA milliamps
    ampere 1 A amp amps amperes
"""
VOLTAGE = """
    volt 1 V volts
    kilovolt 1000 kV
"""
FREQUENCY = """
    hertz 1 Hz hz
    kilohertz 1000 kHz khz
    megahertz 1000000 MHz mhz
    gigahertz 1000000000 GHz ghz
"""
SPEED = """
    kilometre_per_hour 1 km/h kmh kph
    mile_per_hour 1.609344 mph miles-per-hour miles-an-hour
    knot 1.852 knots
    metre_per_second 3.6 m/s
"""
# Of a dimension of their own: nothing converts one into another.
APART = """
    celsius °C celsius C centigrade degrees-celsius degree-celsius degrees-centigrade
    fahrenheit °F fahrenheit F degrees-fahrenheit degree-fahrenheit
    kelvin K kelvin
    degree degrees °
    percent percent % pct
    euro € euros eur EUR
    dollar $ dollars usd USD bucks
    sterling £ gbp GBP pounds-sterling quid
    yen ¥ yen
    penny pence p
    cent cents ct
    franc francs chf CHF
    rupee rupees ₹ inr
    decibel dB decibels
    lux lux
    calorie calories
    kilocalorie kcal
    pixel px pixels
    piece pieces
    carat carats
    metre_squared metre-squared
"""
CONVERTED = {
    "length": LENGTH,
    "area": AREA,
    "volume": VOLUME,
    "mass": MASS,
    "time": TIME,
    "data": DATA,
    "rate of data": RATE_OF_DATA,
    "energy": ENERGY,
    "power": POWER,
    "pressure": PRESSURE,
    "current": CURRENT,
    "voltage": VOLTAGE,
    "frequency": FREQUENCY,
    "speed": SPEED,
}


def _units() -> Mapping[str, Unit]:
    units: dict[str, Unit] = {}
    for dimension, lines in CONVERTED.items():
        for line in lines.strip().splitlines():
            name, factor, *ways = line.split()
            for way in (name, *ways):
                units[way.replace("-", " ")] = Unit(name, dimension, float(factor))
    for line in APART.strip().splitlines():
        name, *ways = line.split()
        for way in (name, *ways):
            units[way.replace("-", " ")] = Unit(name, name, 1.0)
    return units


UNITS = _units()
