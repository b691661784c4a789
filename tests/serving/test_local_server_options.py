"""The flags of `portrait-tf serve`, as `tensorflow_model_server` takes them."""

import pytest
from processes import python, python_output

from portrait_tf.errors import PortraitError
from serving.local_server.options import parse_flags


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["m"], {"model_base_path": "m", "port": 8500, "rest_api_port": 8501}),
        (["--model_base_path=m"], {"model_base_path": "m"}),
        (["--port=1", "m", "--rest-api-port", "2"], {"port": 1, "rest_api_port": 2}),
        (["--enable_batching", "m"], {"enable_batching": True}),
        (["m", "--enable_batching"], {"enable_batching": True}),
        (["--enable_batching=true", "m"], {"enable_batching": True}),
        (["--enable_batching", "true", "m"], {"enable_batching": True}),
        (["m", "--enable_model_warmup=false"], {"enable_model_warmup": False}),
        (["m", "--enable_model_warmup", "false"], {"enable_model_warmup": False}),
        (["m", "--load_retry_interval_micros=0"], {"load_retry_interval_micros": 0}),
        (["--model_config_file=a=b"], {"model_config_file": "a=b"}),
        (["m", "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,a=b"],
         {"channel_arguments": [("grpc.max_connection_age_ms", 2000), ("a", "b")]}),
    ],
)  # fmt: skip
def test_flags_are_read(arguments, expected):
    options, ignored = parse_flags(arguments)
    assert {name: getattr(options, name) for name in expected} == expected
    assert not ignored


def test_defaults_are_those_of_tensorflow_serving():
    options, _ = parse_flags(["m"])
    assert options.file_system_poll_wait_seconds == 1
    assert options.max_num_load_retries == 5
    assert options.load_retry_interval_micros == 60_000_000
    assert options.rest_api_timeout_in_ms == 30_000
    assert options.enable_model_warmup and not options.enable_batching
    assert not options.enable_serialization_as_tensor_content
    assert not options.enable_grpc_healthcheck_service


def test_flags_without_effect_are_said_so():
    options, ignored = parse_flags(
        ["--flush_filesystem_caches", "m", "--num_load_threads", "4"]
    )
    assert ignored == ["flush_filesystem_caches", "num_load_threads"]
    assert options.model_base_path == "m"


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        ([], "expected MODELS_DIR, --model_base_path or --model_config_file"),
        (["m", "--prot=3"], "unknown flag --prot; did you mean --port?"),
        (["m", "-x"], "unknown flag -x"),
        (["m", "--use_alts_credentials"], "unknown flag --use_alts_credentials"),
        (["m", "n"], "expected one thing to serve"),
        (["m", "--model_config_file=c"], "expected one thing to serve"),
        (["m", "--port"], "--port has no value"),
        (["m", "--port=http"], "--port is 'http'; expected a whole number"),
        (["m", "--enable_batching=maybe"], "expected true or false"),
        (["m", "--port=80", "--rest_api_port=80"], "expected two ports"),
        (["m", "--batching_parameters_file=b"], "without --enable_batching"),
        (["m", "--model_name="], "--model_name is empty"),
        (["m", "--grpc_max_threads=0"], "is 0; expected at least 1"),
        (["m", "--max_num_load_retries=-1"], "is -1; expected at least 0"),
        (["m", "--load_retry_interval_micros=-1"], "is -1; expected at least 0"),
        (["m", "--grpc_channel_arguments=x"], "'x'; expected KEY=VALUE"),
    ],
)
def test_flags_that_cannot_be(arguments, phrase):
    with pytest.raises(PortraitError) as caught:
        parse_flags(arguments)
    assert phrase in str(caught.value)


def test_mistakes_and_help_need_no_tensorflow():
    program = (
        "import sys\n"
        "from portrait_tf.apps.cli import main\n"
        "sys.argv = ['portrait-tf', 'serve', *sys.argv[1:]]\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    assert 'tensorflow' not in sys.modules\n"
    )

    said = python_output("-c", program, "--help")
    assert "--model_config_file_poll_wait_seconds" in said
    done = python("-c", program, "m", "--enable_batchin")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "did you mean" in done.stderr
