"""The variables of every process in which vLLM runs, to score or inside verl."""

VLLM_VARIABLES = {
    # FlashInfer compiles its sampler while the engine starts, which dies where there is no nvcc
    # (vllm-project/vllm#49497). vLLM's own draws from the same distribution.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # The stage `prepare` fetches all there is to fetch, and GPU nodes often have no network.
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

CPU_VARIABLES = {
    # Else torch compiles vLLM's sampler with the C++ compiler at the first answer, which takes a
    # dozen seconds of a core.
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else vLLM pins every engine to the same cores
}
