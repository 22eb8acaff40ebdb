"""What needs a GPU: the providers compute what the CPU computes, a limit holds, mixed precision learns something."""

import shutil
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from inference.executor import ModelError
from inference.onnx_executor import OnnxExecutor, OnnxOptions, Provider
from inference.repository import ModelFiles, Repository
from tests.fixtures.inference import ModelFolder, mlp_model

pytestmark = [pytest.mark.gpu]
ROWS = 300
MEBIBYTE = 1 << 20


def need(provider: str) -> None:
    if provider not in ort.get_available_providers():
        pytest.skip(f"this build of ONNX Runtime has no {provider}: it needs the extra inference-gpu and a GPU")


@pytest.fixture
def files(models: ModelFolder, tmp_path: Path) -> ModelFiles:
    models.put("mlp", 1, mlp_model())
    repository = Repository(str(models.path), tmp_path / "cache")
    repository.scan()
    return repository.fetch("mlp", "1")


async def scores(files: ModelFiles, options: OnnxOptions) -> np.ndarray:
    executor = OnnxExecutor(options)
    model = await executor.load(files)
    features = np.random.default_rng(3).normal(size=(ROWS, 64)).astype(np.float32)
    try:
        [answer] = await model.run({"features": features}, ["score"], deadline=10.0)
    finally:
        await model.close()
        await executor.close()
    return answer


@pytest.mark.parametrize(
    ("provider", "name"), [("cuda", "CUDAExecutionProvider"), ("tensorrt", "TensorrtExecutionProvider")]
)
async def test_a_gpu_computes_what_the_cpu_computes(files: ModelFiles, provider: Provider, name: str) -> None:
    need(name)
    on_gpu = await scores(files, OnnxOptions(provider=provider))
    # TF32 and other orders of summation: equal to three decimals, not to the last bit.
    np.testing.assert_allclose(on_gpu, await scores(files, OnnxOptions()), atol=1e-3)


async def test_runs_side_by_side_on_one_card_agree(files: ModelFiles) -> None:
    need("CUDAExecutionProvider")
    one = await scores(files, OnnxOptions(provider="cuda"))
    np.testing.assert_allclose(await scores(files, OnnxOptions(provider="cuda", instances=4)), one, atol=1e-5)


async def test_a_model_that_does_not_fit_its_limit_is_refused(files: ModelFiles) -> None:
    need("CUDAExecutionProvider")
    with pytest.raises(ModelError, match="memory"):
        await scores(files, OnnxOptions(provider="cuda", gpu_memory_limit_bytes=MEBIBYTE // 64))


@pytest.mark.training
def test_training_in_mixed_precision_finds_held_out_items() -> None:
    if shutil.which("nvidia-smi") is None:
        pytest.skip("this machine has no NVIDIA driver")
    from recommender.training import towers
    from recommender.training.material import prepare
    from tests.integration.test_training_smoke import short_recipe, synthetic
    from training import fitting

    _, fitted = towers.train(prepare(synthetic()), short_recipe(epochs=3), fitting.to_nobody)
    assert fitted.best_score > 0
