.PHONY: check-asan
check-asan: deps ## unit tests and simulator (ASAN_SEEDS=150) under ASan and UBSan
	@tools/check_asan.sh
