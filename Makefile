# Two commands do everything on a fresh Debian 12+ or Ubuntu 24.04 machine with Rust:
#   make demo   sets up, builds and shows the line at work on its embedded default
#   make test   sets up and passes all tests
.PHONY: help setup setup-test demo build test test-portable test-emulated lint deploy-checks check-service check-cuda check-arm check-fuzz fuzz valgrind bench bench-peers bench-training bench-cuda peers fmt deb

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@deploy/setup.sh build

setup-test:
	@deploy/setup.sh test

# Reports tell the commit of the program that made them; another one compiles but one small file anew.
build: export HAIRLINE_COMMIT := $(shell git rev-parse --short HEAD 2>/dev/null)

build: setup
	cargo build --release

demo: setup
	cargo run --release --bin hairline -- demo --out demo-out

# Property tests draw the same cases each time here; plain `cargo test` draws new ones.
test: setup-test
	PROPTEST_RNG_SEED=1 cargo test

# The networks once more without any vectors of the processor's own, as on ARM.
test-portable: setup-test
	HAIRLINE_TEST_INSTRUCTIONS=portable PROPTEST_RNG_SEED=1 cargo test --lib -- nn:: --skip on_cuda --skip on_host

# The engine's kernels with AVX-512 and AMX on an emulated processor, where the machine has none. Takes hours; tests/emulated/run.sh
# with the names of a few tests takes minutes.
test-emulated: setup
	tests/emulated/run.sh

fmt:
	cargo fmt --check

lint: setup
	cargo clippy --all-targets -- -D warnings

# The program is the one of the tests, so that it is not built once more.
deploy-checks: setup-test
	cargo test --no-run --test suite
	deploy/check.sh

# The service as it is installed, under a systemd of its own; as root.
check-service: build
	systemd/booted.sh target/release

# Type-checks the CUDA build where there is no CUDA: a stand-in takes the compiler's place. What it leaves
# cannot run, so it has a folder of its own.
CUDA_CHECK_DIR ?= target/cuda-check
check-cuda: setup
	PATH="$(CURDIR)/deploy/cuda:$$PATH" CUDARC_CUDA_VERSION=13000 CUDA_COMPUTE_CAP=90 \
	    cargo clippy --all-targets --features cudnn --target-dir $(CUDA_CHECK_DIR) -- -D warnings

# Type-checks the build for ARM, which has the portable kernels; needs rustup and its servers, and says so where they are missing.
ARM = aarch64-unknown-linux-gnu
check-arm: setup
	if rustup target add $(ARM); then PKG_CONFIG_ALLOW_CROSS=1 cargo clippy --lib --bins --target $(ARM) -- -D warnings; \
	    else echo "skipped: rustup cannot get the standard library of $(ARM)"; fi

# The fuzz targets are a package of their own, with the project's own versions of everything.
check-fuzz: setup
	cp Cargo.lock fuzz/Cargo.lock
	cargo check --manifest-path fuzz/Cargo.toml --target-dir target

# Each target for a minute, blind to coverage; `cargo +nightly fuzz run NAME` sees more.
FUZZ_SECONDS ?= 60
fuzz: check-fuzz
	for target in wire mask checkpoint import configuration lines; do \
	    cargo run --release --manifest-path fuzz/Cargo.toml --target-dir target --bin $$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

# The kernels under valgrind, which knows AVX2 at most: what is read and written out of bounds, or read before it is set.
# Slow, and blind to AVX-512 and AMX.
valgrind: valgrind-kernels valgrind-ops
valgrind-%: setup-test
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind -q --error-exitcode=9 --leak-check=no" PROPTEST_RNG_SEED=1 \
	    cargo test --lib -- nn::$* --test-threads=1 --skip of_any_shape

bench: setup
	cargo bench
	cargo run --release --bin hairline -- bench

# PyTorch, ONNX Runtime and OpenVINO, to be measured against; downloaded once into target/peers.
peers:
	test -d target/peers || python3 -m venv target/peers
	target/peers/bin/pip install --quiet torch onnx onnxruntime openvino safetensors numpy

bench-peers: build peers
	target/peers/bin/python benches/peers.py
	target/peers/bin/python benches/peers.py --bilinear --widths 16,32

bench-training: build peers
	target/peers/bin/python benches/training.py

# Needs a GPU, the CUDA toolkit, and a python3 that has torch for it.
bench-cuda: setup
	cargo build --release --features cudnn
	python3 benches/cuda.py --widths 16,64
	python3 benches/cuda.py --widths 64 --training

deb: build
	deploy/notices.py target/THIRD-PARTY-NOTICES
	cargo deb --no-build --strip
