# connprof's targets; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := build

CLANG ?= clang-14
STRIP ?= llvm-strip-14
MULTIARCH := $(shell gcc -print-multiarch 2>/dev/null)
export BPF2GO_CC = $(CLANG)
export BPF2GO_STRIP = $(STRIP)
export BPF2GO_CFLAGS = -O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/$(MULTIARCH)

generate:
	cd bpf && go generate .
