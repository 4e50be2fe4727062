"""What measure-ttft.sh and compare-llm.sh share: the truth of the simulator beside what a client says it saw.

  compare-llm.py tokenizer DIR             makes a tokenizer, as a folder of the package transformers
  compare-llm.py ours      < requests      each reads one run's records and prints: requests, and the error of
  compare-llm.py aiperf    FILE            the time to the first token, p50 p90 p99 max in milliseconds
  compare-llm.py guidellm  FILE
  compare-llm.py busy                      a line of each core's busy and total time since boot

The simulator (`send_stamps`) writes into its first token when it had read the request and when it sent the token. The error is
what the client calls its time to the first token minus the time between these two.
"""

import json
import re
import sys

STAMPS = re.compile(r"t1@(\d+)@(\d+)")


def show(errors_ms):
    errors = sorted(errors_ms)
    if not errors:
        sys.exit("no request with a first token and the server's stamps")

    def at(share):
        rank = (len(errors) - 1) * share
        low = int(rank)
        return errors[low] + (errors[min(low + 1, len(errors) - 1)] - errors[low]) * (rank - low)

    print(len(errors), *(f"{value:.3f}" for value in (at(0.5), at(0.9), at(0.99), errors[-1])))


def server_ms(text):
    stamps = STAMPS.search(text or "")
    return (int(stamps[1]) - int(stamps[2])) / 1e6 if stamps else None


def ours():
    for line in sys.stdin:
        request = json.loads(line)
        if request["success"] and not request.get("warmup"):
            yield (request["ttft_s"] - request["server_s"]["ttft"]) * 1e3


def aiperf(path):
    with open(path) as records:
        for line in records:
            record = json.loads(line)
            if record.get("error") or record["metadata"].get("benchmark_phase") != "profiling":
                continue
            for response in record["responses"]:
                text = json.dumps(response)
                if (truth := server_ms(text)) is not None:
                    yield (response["perf_ns"] - record["start_perf_ns"]) / 1e6 - truth
                    break


def guidellm(path):
    with open(path) as report:
        benchmarks = json.load(report)["benchmarks"]
    for benchmark in benchmarks:
        for request in benchmark["requests"]["successful"]:
            if (truth := server_ms(request["output"])) is not None:
                yield (request["first_token_time"] - request["start_time"]) * 1e3 - truth


def tokenizer(folder):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"], show_progress=False)
    words = [f"{first}{second}" for first in "time year people way day thing life world".split() for second in ("", "s", "ly")]
    made.train_from_iterator([" ".join(words)] * 10, trainer)
    PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>").save_pretrained(folder)


def busy():
    with open("/proc/stat") as stat:
        for line in stat:
            if re.match(r"cpu\d", line):
                ticks = list(map(int, line.split()[1:9]))
                print(sum(ticks) - ticks[3] - ticks[4], sum(ticks))


if __name__ == "__main__":
    action, arguments = sys.argv[1], sys.argv[2:]
    if action in ("ours", "aiperf", "guidellm"):
        show(globals()[action](*arguments))
    else:
        {"tokenizer": tokenizer, "busy": busy}[action](*arguments)
