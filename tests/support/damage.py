"""Files as they come back from bad disks, bad networks and bad people."""

from hypothesis import strategies as st


@st.composite
def damaged(draw, contents):
    """A whole file with bits flipped, pieces replaced, cut out or doubled, or its end cut off."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(0, 3))):
        place, length = draw(st.integers(0, len(content))), draw(st.sampled_from([1, 2, 4, 30]))
        piece = draw(st.sampled_from(['bit', 'bytes', 'ones', 'cut', 'double', 'end']))
        if piece == 'bit' and place < len(content):
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif piece == 'bytes':
            content[place:place + length] = draw(st.binary(min_size=length, max_size=length))
        elif piece == 'ones':
            content[place:place + length] = b'\xff' * length
        elif piece in ('cut', 'end'):
            del content[place:place + length if piece == 'cut' else None]
        elif piece == 'double':
            content[place:place] = content[place:place + length]
    return bytes(content)
