# Fuzzing: bytes that anybody could send, or a disk hold.
.PHONY: check-fuzz fuzz-corpus
check-fuzz: deps ## libFuzzer targets under ASan and UBSan (FUZZ_SECONDS=15 each, FUZZ_SEED, FUZZ_TARGETS)
	@tools/check_fuzz.sh

fuzz-corpus: deps ## writes test/fuzz/corpus anew, after a change of a message or file format
	@tools/check_fuzz.sh --corpus
