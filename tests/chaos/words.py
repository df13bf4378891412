"""How tests, figures and marks are written: for the terminal and for the document."""


def in_order(name):
    """T1 T2 … T39, then those without a number."""
    number = name[1:].split("-")[0]
    return (0, int(number), name) if name[0] == "T" and number.isdigit() else (1, 0, name)


def shown(value, unit):
    if isinstance(value, int) or value == int(value) and abs(value) >= 100:
        text = f"{int(value):,}"
    else:
        text = f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{text} {unit}".rstrip()


def bound(mark):
    return f"at most {shown(mark['most'], mark['unit'])}" if mark["most"] is not None else f"at least {shown(mark['least'], mark['unit'])}"
