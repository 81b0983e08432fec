"""What counts as the same and as nearly the same, measured against sets of shingles counted one by one."""

import random

from scaffolder.worker.data.similar import Similar

WORDS = [f"{a}{b}{c}" for a in ("lam", "ri", "so", "tun", "ver") for b in ("po", "ke", "mi") for c in ("n", "rt", "")]


def shingles(text):
    letters = "".join(sign for sign in text.lower() if sign.isalnum())
    return {letters[at : at + 5] for at in range(len(letters) - 4)}


def jaccard(one, other):
    return len(shingles(one) & shingles(other)) / len(shingles(one) | shingles(other))


def links(tmp_path, texts, prompts=None):
    with Similar(tmp_path) as similar:
        similar.add([text.encode() for text in texts], prompts or [None] * len(texts))
        found = similar.links()
    assert list(tmp_path.iterdir()) == []
    return found


def sentence(draw, words):
    return " ".join("".join(draw.choices("abcdefghiklmnoprstuvw", k=draw.randint(2, 9))) for _ in range(words))


def edited(draw, text, edits):
    words = text.split()
    for _ in range(edits):
        words[draw.randrange(len(words))] = draw.choice(WORDS)
    return " ".join(words)


def test_equal_but_for_case_spaces_and_punctuation(tmp_path):
    found = links(tmp_path, ["What is it, then?", "Something else.", "what is  it then", "WHAT IS IT: THEN!"])
    assert found.same.tolist() == [[0, 2], [0, 3]]
    assert len(found.near) == 0


def test_letters_beyond_ascii_count(tmp_path):
    assert len(links(tmp_path, ["что это", "как это", "これは何", "それは何"]).same) == 0


def test_pairs_above_the_threshold_are_found_and_far_ones_are_not(tmp_path):
    draw = random.Random(4)
    texts, alike = [], {}
    for _ in range(600):
        one = sentence(draw, draw.randint(14, 70))
        other = edited(draw, one, draw.randint(0, 12))
        alike[len(texts), len(texts) + 1] = jaccard(one, other)
        texts += [one, other]
    found = links(tmp_path, texts)
    told = {tuple(pair) for pair in (*found.near.tolist(), *found.same.tolist())}
    near = [pair for pair, share in alike.items() if share >= 0.85]
    far = [pair for pair, share in alike.items() if share < 0.6]
    assert min(len(near), len(far)) > 50
    assert [pair for pair in near if pair not in told] == []
    assert [pair for pair in far if pair in told] == []
    # Different sentences are never told as alike.
    assert told <= set(alike)


def test_estimates_are_near_the_truth(tmp_path):
    draw = random.Random(5)
    texts = []
    for _ in range(200):
        one = sentence(draw, 60)
        texts += [one, edited(draw, one, draw.randint(1, 5))]
    found = links(tmp_path, texts)
    errors = [
        abs(share - jaccard(texts[one], texts[other]))
        for (one, other), share in zip(found.near.tolist(), found.similarity.tolist(), strict=True)
    ]
    assert len(errors) > 100
    assert sum(errors) / len(errors) < 0.05


def test_the_same_question_is_told_apart_from_the_same_example(tmp_path):
    found = links(tmp_path, ["Why? Because.", "Why? No idea."], [b"Why?", b"why"])
    assert found.same.tolist() == []
    assert found.asked.tolist() == [[0, 1]]


def test_many_equal_rows_stay_cheap(tmp_path):
    text = sentence(random.Random(1), 40)
    found = links(tmp_path, [text] * 20_000)
    assert len(found.same) == 19_999
    assert len(found.near) == 0
