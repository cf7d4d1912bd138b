"""Loops over the bytes of texts: cut them at added tokens and edges, look the pieces up, lay their tokens out."""

import numpy as np

from tasks.algorithms.compiled import compiled
from tasks.algorithms.tokens.arrays import Flags, Ids, Places
from tasks.algorithms.tokens.edges import EDGE
from tasks.algorithms.word_hashes import Bytes, Hashes, Offsets

AT_START, BEHIND_TOKEN, WITHIN = 0, 1, 2
"""Where a piece stands: some tokenizers treat the first of a text, or of what follows an added token, apart."""
_SEEDS = np.array([0xCBF29CE484222325, 0x9AE16A3B2F90404F, 0x84222325CBF29CE4], dtype=np.uint64)
_PRIME, _SPREAD, FREE = np.uint64(0x100000001B3), np.uint64(0x9E3779B97F4A7C15), np.uint64(0)
_LETTER, _MARK, _SPACE = 1, 2, 3
ROLES = np.zeros(256, dtype=np.uint8)
"""What a byte has to do with edges: a letter or digit before one, or a mark or a space after one."""
for _byte in range(0x80):
    ROLES[_byte] = _LETTER if chr(_byte).isalnum() else _MARK if EDGE.search("x" + chr(_byte)) else 0
ROLES[ord(" ")] = _SPACE


@compiled
def cut(
    data: Bytes,
    offsets: Offsets,
    text: int,
    roles: Bytes,
    added: tuple[Ids, Ids, Flags],
    slots: tuple[Hashes, Ids],
    pieces: tuple[Bytes, Places, Bytes],
    known: int,
    items: tuple[Ids, Places, Places],
    is_whole: Flags,
) -> tuple[int, int]:
    """Cut texts, from a given one on, and note what each consists of: a piece's number, or −1 − an added token's.

    New pieces are remembered under new numbers. It ends where a text might not fit any more, and says before which,
    and how many pieces are known then. A text with an added token that is odd is not cut but flagged.
    """
    steps, token_at, odd = added
    numbers, places, bounds = items
    room, room_for_bytes = len(slots[0]) // 2, len(pieces[0])
    count = 0
    bounds[text] = 0
    while text < len(offsets) - 1:
        begin, end = offsets[text], offsets[text + 1]
        if known + end - begin + 1 > room or pieces[1][known] + end - begin > room_for_bytes:
            break
        start, segment, context, state, place = begin, begin, AT_START, _SEEDS[AT_START], begin
        while place < end:
            byte = data[place]
            if steps[0, byte] != 0:
                token, behind = _added_token(data, place, end, steps, token_at)
                if token >= 0:
                    if odd[token]:
                        is_whole[text] = True
                        count = bounds[text]
                        start = end
                        break
                    if place > start:
                        numbers[count], known = _look_up(data, start, place, context, state, slots, pieces, known)
                        places[count] = start - begin
                        count += 1
                    numbers[count], places[count] = -1 - token, place - begin
                    count += 1
                    start, segment, context, place = behind, behind, BEHIND_TOKEN, behind
                    state = _SEEDS[BEHIND_TOKEN]
                    continue
            if place > start and roles[byte] >= _MARK and is_edge(data, roles, segment, place):
                numbers[count], known = _look_up(data, start, place, context, state, slots, pieces, known)
                places[count] = start - begin
                count += 1
                start, context, state = place, WITHIN, _SEEDS[WITHIN]
            state = (state ^ np.uint64(byte)) * _PRIME
            place += 1
        if end > start:
            numbers[count], known = _look_up(data, start, end, context, state, slots, pieces, known)
            places[count] = start - begin
            count += 1
        text += 1
        bounds[text] = count
    return text, known


@compiled
def _added_token(data: Bytes, place: int, end: int, steps: Ids, token_at: Ids) -> tuple[int, int]:
    """The longest added token that begins at a place, and where it ends."""
    node, token, behind = 0, -1, place
    while place < end:
        node = steps[node, data[place]]
        if node == 0:
            break
        place += 1
        if token_at[node] >= 0:
            token, behind = token_at[node], place
    return token, behind


@compiled
def _look_up(
    data: Bytes,
    begin: int,
    end: int,
    context: int,
    state: np.uint64,
    slots: tuple[Hashes, Ids],
    pieces: tuple[Bytes, Places, Bytes],
    known: int,
) -> tuple[int, int]:
    """The number of a piece, and how many are known: one more where it is new."""
    hashes, numbers = slots
    spelled, bounds, contexts = pieces
    state = _finish(state)
    last = np.uint64(len(hashes) - 1)
    slot = (state * _SPREAD) >> np.uint64(20) & last
    while hashes[slot] != FREE:
        number = numbers[slot]
        # Equal hashes of different pieces would give a wrong token, so the bytes are compared.
        if hashes[slot] == state and contexts[number] == context:
            first = bounds[number]
            length = bounds[number + 1] - first
            if length == end - begin:
                same = 0
                while same < length and spelled[first + same] == data[begin + same]:
                    same += 1
                if same == length:
                    return number, known
        slot = (slot + np.uint64(1)) & last
    hashes[slot], numbers[slot], contexts[known] = state, known, context
    first = bounds[known]
    for place in range(end - begin):
        spelled[first + place] = data[begin + place]
    bounds[known + 1] = first + end - begin
    return known, known + 1


@compiled
def is_edge(data: Bytes, roles: Bytes, begin: int, place: int) -> bool:
    """Whether an edge lies before a place whose byte is a mark or a space; nothing before `begin` is looked at."""
    before = data[place - 1]
    if roles[before] == _LETTER:
        return True
    if roles[data[place]] != _SPACE or before <= 0x20 or before == 0x7F:
        return False
    if before < 0x80:
        return True
    lead = place - 1
    while lead > begin and data[lead] & 0xC0 == 0x80:
        lead -= 1
    first, second = data[lead], data[lead + 1]
    # Some of these are white space, or nothing at all, to one tokenizer or another.
    if first == 0xC2 or first == 0xE2 or first >= 0xEF:
        return False
    return not (first == 0xE1 and (second == 0x9A or second == 0xA0)) and not (first == 0xE3 and second == 0x80)


@compiled
def _finish(state: np.uint64) -> np.uint64:
    state ^= state >> np.uint64(32)
    return state if state != FREE else np.uint64(1)


@compiled
def rehash(slots: tuple[Hashes, Ids], larger: tuple[Hashes, Ids]) -> None:
    """Enter all pieces of one table into a larger one."""
    last = np.uint64(len(larger[0]) - 1)
    for old in range(len(slots[0])):
        if slots[0][old] != FREE:
            slot = (slots[0][old] * _SPREAD) >> np.uint64(20) & last
            while larger[0][slot] != FREE:
                slot = (slot + np.uint64(1)) & last
            larger[0][slot], larger[1][slot] = slots[0][old], slots[1][old]


@compiled
def opens_group(pieces: tuple[Bytes, Places, Bytes], roles: Bytes, first: int, last: int, most: int) -> Flags:
    """Which pieces cannot stand behind the one before as in a text, or would be too many in a row."""
    spelled, bounds, contexts = pieces
    opens = np.ones(last - first, dtype=np.bool_)
    size = 1
    for number in range(first + 1, last):
        place = bounds[number]
        if contexts[number] == WITHIN and size < most and roles[spelled[place]] == _SPACE:
            opens[number - first] = not is_edge(spelled, roles, bounds[number - 1], place)
        size = 1 if opens[number - first] else size + 1
    return opens


@compiled
def count_tokens(
    numbers: Ids, bounds: Places, first: int, last: int, firsts: Places, is_odd: Flags, is_whole: Flags
) -> Places:
    """How many tokens texts have; a text with an odd piece is flagged, and none are counted for flagged ones."""
    counts = np.zeros(last - first, dtype=np.int64)
    for text in range(first, last):
        for item in range(bounds[text], bounds[text + 1]):
            number = numbers[item]
            if number < 0:
                counts[text - first] += 1
            else:
                counts[text - first] += firsts[number + 1] - firsts[number]
                if is_odd[number]:
                    is_whole[text] = True
        if is_whole[text]:
            counts[text - first] = 0
    return counts


@compiled
def lay_out(
    items: tuple[Ids, Places, Places],
    first: int,
    is_whole: Flags,
    firsts: Places,
    stored: Ids,
    added_ids: Ids,
    text_lengths: Places,
    offsets: Places,
    ids: Ids,
    begins: Places,
    ends: Places,
) -> None:
    """Write the tokens of texts, from a given one on, where the offsets say; flagged texts have none."""
    numbers, places, bounds = items
    for text in range(first, first + len(offsets) - 1):
        if is_whole[text - first]:
            continue
        token = offsets[text - first]
        for item in range(bounds[text], bounds[text + 1]):
            number, place = numbers[item], places[item]
            if number < 0:
                ids[token], begins[token] = added_ids[-1 - number], place
                # What follows begins where the added token ends.
                ends[token] = places[item + 1] if item + 1 < bounds[text + 1] else text_lengths[text]
                token += 1
                continue
            for known in range(firsts[number], firsts[number + 1]):
                ids[token] = stored[0, known]
                begins[token], ends[token] = place + stored[1, known], place + stored[2, known]
                token += 1
