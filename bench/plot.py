"""A plot of delays as SVG, without a library: a line from the median to the 99th percentile

The axis is the delay from phone to phone, not what was added: a relay in the kernel may be
faster than plain IP forwarding, and nothing below zero has a place on a logarithmic axis.
"""
import math
from xml.sax.saxutils import escape

WIDTH = 860
LEFT, RIGHT = 190, 48
TOP, ROW, BOTTOM = 118, 58, 96
FONT = 'font-family="DejaVu Sans, Verdana, Arial, sans-serif"'
INK, SOFT, GRID = '#1f2933', '#52606d', '#dde3ea'
MEDIAN, TAIL, REFERENCE = '#1f6f8b', '#d9822b', '#9aa5b1'


class Axis:
    """Whole decades that hold all values."""

    def __init__(self, values):
        positive = [value for value in values if value > 0] or [1]
        self.low = math.floor(math.log10(min(positive)))
        self.high = max(math.ceil(math.log10(max(positive))), self.low + 1)

    def x(self, value):
        share = (math.log10(max(value, 10 ** self.low)) - self.low) / (self.high - self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def ticks(self):
        """(value, whether it is a whole decade)"""
        for decade in range(self.low, self.high):
            for digit in range(1, 10):
                yield digit * 10 ** decade, digit == 1
        yield 10 ** self.high, True


def text(x, y, words, size=15, anchor='start', fill=INK, weight='normal'):
    """White around the letters keeps them readable on the grid."""
    return (f'<text x="{x:.1f}" y="{y:.1f}" {FONT} font-size="{size}" fill="{fill}" '
            f'font-weight="{weight}" text-anchor="{anchor}" stroke="#ffffff" '
            f'stroke-width="5" paint-order="stroke">{escape(words)}</text>')


def line(x1, y1, x2, y2, stroke, width=1.0, more=''):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{stroke}" stroke-width="{width}" {more}/>')


def dot(x, y, fill):
    return (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6.5" fill="{fill}" stroke="#ffffff" '
            'stroke-width="1.5"/>')


def time_of(us):
    if us >= 1000:
        return f'{us / 1000:.3g} ms'
    return f'{us:.3g} µs'


def added(us):
    return ('+' if us >= 0 else '−') + time_of(abs(us))


def grid(axis, bottom):
    for value, whole in axis.ticks():
        x = axis.x(value)
        yield line(x, TOP - 8, x, bottom, GRID, 1.4 if whole else 0.6)
        if whole:
            yield text(x, bottom + 22, time_of(value), anchor='middle', fill=SOFT)


def candidate(axis, y, title, c):
    p50, p99 = (c['relayed'][key] for key in ('delay_p50_us', 'delay_p99_us'))
    x50, x99 = axis.x(p50), axis.x(p99)
    middle, above = WIDTH - RIGHT - 250, y - 13
    yield text(LEFT - 18, y + 5, title, size=16, anchor='end', weight='bold')
    yield line(x50, y, x99, y, MEDIAN, 4, 'stroke-linecap="round" opacity="0.45"')
    yield dot(x50, y, MEDIAN)
    yield dot(x99, y, TAIL)
    label = f'{added(c["added_delay_p50_us"])} / {added(c["added_delay_p99_us"])}'
    if x50 > middle:
        yield text(x99 + 6, above, label, size=14, anchor='end', fill=SOFT)
    else:
        yield text(x50 - 6, above, label, size=14, fill=SOFT)


def legend(y):
    yield dot(LEFT, y, MEDIAN)
    yield text(LEFT + 14, y + 5, 'median')
    yield dot(LEFT + 110, y, TAIL)
    yield text(LEFT + 124, y + 5, '99th percentile')
    yield line(LEFT + 276, y, LEFT + 306, y, REFERENCE, 2, 'stroke-dasharray="5 4"')
    yield text(LEFT + 314, y + 5, 'without relay, median')


def delays(figures, about):
    """The SVG of delay.measure(); about: one line on machine and versions."""
    candidates = figures['candidates']
    direct = [c['direct']['delay_p50_us'] for c in candidates.values()]
    axis = Axis(direct + [c['relayed'][key] for c in candidates.values()
                          for key in ('delay_p50_us', 'delay_p99_us')])
    bottom = TOP + ROW * len(candidates)
    height = bottom + BOTTOM
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
             f'width="{WIDTH}" height="{height}">',
             f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
             text(24, 36, f'Delay through a relay, {figures["calls"]} calls', size=21,
                  weight='bold'),
             text(24, 60, 'Above each line: what the relay adds to plain IP forwarding, median / '
                  '99th percentile', size=14, fill=SOFT),
             *legend(86), *grid(axis, bottom)]
    if direct:
        x = axis.x(sorted(direct)[len(direct) // 2])
        parts.append(line(x, TOP - 8, x, bottom, REFERENCE, 2, 'stroke-dasharray="5 4"'))
    for i, (title, c) in enumerate(candidates.items()):
        parts += candidate(axis, TOP + ROW * i + ROW / 2 + 4, title, c)
    parts += [text((LEFT + WIDTH - RIGHT) / 2, bottom + 48, 'delay from phone to phone '
                   '(logarithmic)', anchor='middle'),
              text(24, height - 18, about, size=12, fill=SOFT), '</svg>']
    return '\n'.join(parts)
