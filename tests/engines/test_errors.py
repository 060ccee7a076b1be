"""Errors with fields: libraries name settings, and a command names its options for them."""

import copy

import pytest

from engines.errors import Choice, EngineError, EngineLost, PuppetError
from engines.foreign_errors import MEANINGS, cuda_error, mapped

OPTIONS = {"device": "--device", "face model": "--face-model"}


def test_an_error_is_one_sentence_of_what_happened_and_what_to_do():
    error = PuppetError("The GPU is lost", "restart the machine", Choice("device", "cpu"))
    assert str(error) == "The GPU is lost: restart the machine, or choose the device cpu."
    assert error.sentence(OPTIONS) == "The GPU is lost: restart the machine, or choose --device cpu."
    assert error.what == "The GPU is lost" and error.remedies[1] == Choice("device", "cpu")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PuppetError("It is broken."), "It is broken."),
        (PuppetError("It is broken", "mend it"), "It is broken: mend it."),
        (PuppetError("It is broken", "a", "b", "c"), "It is broken: a, b, or c."),
        (
            PuppetError("It is broken", "mend it", where="f.json, line 3"),
            "f.json, line 3: It is broken: mend it.",
        ),
        (PuppetError("It is broken", Choice("face model")), "It is broken: choose another --face-model."),
        (PuppetError("It is broken", Choice("colour")), "It is broken: choose another colour."),
        (PuppetError("It is {broken}", "use {}"), "It is {broken}: use {}."),
    ],
)
def test_remedies_are_joined_into_the_sentence(error, sentence):
    assert error.sentence(OPTIONS) == sentence


def test_an_error_survives_its_way_from_another_process():
    error = EngineError("It is broken", "mend it", Choice("device", "cpu"), where="here")
    received = copy.copy(error)  # by the same protocol
    assert type(received) is EngineError and received.sentence(OPTIONS) == error.sentence(OPTIONS)
    assert received.where == "here"


def test_a_library_s_error_becomes_what_it_means():
    with pytest.raises(
        EngineLost, match=r"^OpenVINO failed while it ran mine \(out of memory\): start"
    ) as caught:
        with mapped("openvino.run", "mine"):
            raise RuntimeError("Exception from src/inference.cpp:\nout of memory")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_error_of_this_project_and_one_that_is_not_the_library_s_pass_as_they_are():
    with (
        pytest.raises(EngineError, match=r"^The two files do not belong together\.$"),
        mapped("onnx.load", "g"),
    ):
        raise EngineError("The two files do not belong together.")
    with pytest.raises(KeyError), mapped("openvino.run", "mine"):
        raise KeyError("a defect")


@pytest.mark.parametrize("tried", MEANINGS)
@pytest.mark.parametrize("text", ["", "one line", "many\nlines " * 500])
def test_every_foreign_error_is_one_line_with_something_to_do(tried, text):
    with pytest.raises(EngineError) as caught, mapped(tried, "{subject}"):
        raise MEANINGS[tried].caught[0](text)
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 400 and caught.value.remedies


def test_an_unknown_cuda_error_is_named_and_one_while_running_is_a_loss():
    assert "cudaErrorOfTomorrow" in str(cuda_error("cudaErrorOfTomorrow"))
    assert not isinstance(cuda_error("cudaErrorNoDevice"), EngineLost)
    assert isinstance(cuda_error("cudaErrorNoDevice", running=True), EngineLost)
