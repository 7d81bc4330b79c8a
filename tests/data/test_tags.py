"""Laws of CoNLL columns: a sentence keeps all of its words, and what is no word is counted and said."""

from __future__ import annotations

import importlib

import _launching as launching  # noqa: F401  # finds the experiments
import pytest

from rnnjax import app, data
from rnnjax.base import UserError

MARK = "marks between documents"


def read(tmp_path, content: str, **columns):
    path = tmp_path / "train.txt"
    path.write_text(content, encoding="utf-8")
    return data.read_tagged(str(path), **columns)


# What the file holds, the words of its sentences, the marks between documents.
DOCUMENTS = {
    "at once": ("-DOCSTART- -DOCSTART- O\nEl DA O\nsol NC O\n\nSi RG O\n", [["El", "sol"], ["Si"]], 1),
    "of its own": ("-DOCSTART- -X- O\n\nEl DA O\n\n-DOCSTART- -X- O\n\nSi RG O\n", [["El"], ["Si"]], 2),
    "of one column": ("-DOCSTART-\nEl DA O\n", [["El"]], 1),
    "after a sentence": ("El DA O\n-DOCSTART- -X- O\nSi RG O\n", [["El"], ["Si"]], 1),
    "with a name": ("-DOCSTART-\t(a 1)\tO\nEl\tDA\tO\n", [["El"]], 1),
    "none": ("El DA O\n\nSi RG O\n", [["El"], ["Si"]], 0),
}


@pytest.mark.parametrize("form", DOCUMENTS)
def test_of_a_mark_between_documents_only_its_line_goes(form, tmp_path):
    content, words, marks = DOCUMENTS[form]
    found = read(tmp_path, content)
    assert [s.words for s in found] == words and [len(s.tags) for s in found] == [len(w) for w in words]
    assert found.passed[MARK] == marks and (str(marks) in found.note()) == bool(marks)


CONLLU = """#newdoc
# text = Vamos del mar
1\tVamos\tir\tVERB\tV\t_\t0\troot\t_\t_
2-3\tdel\t_\t_\t_\t_\t_\t_\t_\t_
2\tde\tde\tADP\tP\t_\t4\tcase\t_\t_
# between
3\tel\tel\tDET\tD\t_\t4\tdet\t_\t_
3.1\tgran\t_\tADJ\t_\t_\t_\t_\t_\t_
4\tmar\tmar\t_\tN\t_\t1\tobl\t_\t_

# text = 5
1\t_\t_\tSYM\tS\t_\t0\troot\t_\t_
"""


def test_of_conll_u_ranges_empty_nodes_and_remarks_are_no_words_and_an_underline_is_no_tag(tmp_path):
    found = read(tmp_path, CONLLU, word=1, tag=3)
    assert [s.words for s in found] == [["Vamos", "de", "el", "mar"], ["_"]]
    assert [s.tags for s in found] == [["VERB", "ADP", "DET", data.NONE], ["SYM"]]
    assert found.note() == "passed over: 4 remarks, 1 token of several words, 1 empty node, 1 word without a label"
    assert [s.words for s in read(tmp_path, CONLLU, word=-9, tag=3)] == [s.words for s in found]


def test_a_first_column_of_numbers_in_few_columns_is_one_too_and_words_that_look_so_stay(tmp_path):
    found = read(tmp_path, "1 du X\n1-2 des _\n2 le Y\n10.1 e Z\n", word=1)
    assert [s.words for s in found] == [["du", "le"]] and found.passed.total() == 2
    scores = read(tmp_path, "won V\n2-3 N\n5.1 N\n#1 N\n# N\n")
    assert scores[0].words == ["won", "2-3", "5.1", "#1", "#"] and not scores.note()
    with pytest.raises(UserError, match=r"train\.txt, line 3: the first column numbers the words, as in CoNLL-U"):
        read(tmp_path, CONLLU)


def test_other_kinds_of_space_are_part_of_a_word(tmp_path):
    found = read(tmp_path, "1\u00a0000 NUM\nkm  N \n")
    assert found[0] == (["1\u00a0000", "km"], ["NUM", "N"])
    with pytest.raises(UserError, match=r"line 1: no word"):
        read(tmp_path, "\tX\n")


def test_what_is_passed_over_is_said_and_an_underline_becomes_no_class(tmp_path, capsys):
    tagging = importlib.import_module("experiments.tagging")
    (tmp_path / "train.txt").write_text(
        CONLLU.replace("Vamos del", "Vamos  del")
        + "\n".join(f"\n1\tw{i}\tw\tVERB\tV\t_\t0\troot\t_\t_\n" for i in range(40))
    )
    given = {"data": str(tmp_path / "train.txt"), "word_column": 1, "tag_column": 3}
    config = app.Config({n: tagging.FLAGS[n].value for n in tagging.FLAGS} | given)
    facts, _ = tagging.load(config)
    assert "passed over: 4 remarks, 1 token of several words" in capsys.readouterr().out
    assert "_" not in facts.labels and data.NONE not in facts.labels
    (tmp_path / "train.txt").write_text("\n".join(f"w{i} _\n" for i in range(40)))
    with pytest.raises(UserError, match="no word has a label in --tag_column"):
        tagging.load(config.replace(word_column=0, tag_column=-1))


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("A\nB\n", {}, "line 1: column 0 of 1 for words and tags alike: tabs or spaces separate"),
        ("A;N\nB;N\n", {}, "line 1: column 0 of 1"),
        ("A N\n", {"tag": 0}, "line 1: column 0 of 2"),
        ("A N\n", {"tag": -3}, "line 1: 2 columns, and none numbered -3"),
        ("A N\n\nB X\n", {"tags": ("N", "V")}, "line 3: the tag 'X' of 'B' is none of N, V"),
    ],
)
def test_columns_and_tags_that_do_not_exist_are_refused_by_line(content, columns, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read(tmp_path, content, **columns)


def test_documents_of_ontonotes_begin_and_end_with_lines_that_are_no_words(tmp_path):
    text = "#begin document (bc/a); part 000\nA N\n#begun V\n\nB N\n#end document\n"
    found = read(tmp_path, text)
    assert [s.words for s in found] == [["A", "#begun"], ["B"]] and found.passed == {MARK: 2}


def load(tmp_path, train: str, test: str):
    experiment = importlib.import_module("experiments.tagging")
    (tmp_path / "train").write_text(train)
    (tmp_path / "test").write_text(test)
    given = {"data": str(tmp_path / "train"), "test_data": str(tmp_path / "test")}
    return experiment.load(app.Config({n: experiment.FLAGS[n].value for n in experiment.FLAGS} | given))


def test_labels_are_those_of_all_of_the_data_and_one_that_only_the_test_has_is_refused(tmp_path):
    train = "".join(f"w{i} {'NV'[i % 2]}\n\n" for i in range(30)) + "rare R\n"
    facts, _ = load(tmp_path, train, "w1 R\n")
    assert {*facts.labels} == {"N", "V", "R"}
    with pytest.raises(UserError, match=r"test, line 2: the tag 'X' of 'y' is none of N, V, R"):
        load(tmp_path, train, "w1 R\ny X\n")
    with pytest.raises(UserError, match="all words have the label 'N'"):
        load(tmp_path, train.replace("V", "N").replace("R", "N"), "w1 N\n")
