# fastkv: an LSM key-value store as a loadable SQLite extension.
#
# `make help` lists the targets. Everything that is made goes below build/, one folder per mode:
#
#   MODE=release  -O2 -DNDEBUG -flto (the default)  MODE=asan  AddressSanitizer and UBSan
#   MODE=debug    -O0 -g, assertions                MODE=tsan  ThreadSanitizer
#
# Objects are rebuilt when a header or a flag changes. What the machine has is found out once, by
# tests/tools/deps.sh, which also installs what is missing; `make deps` asks again.

MODE    ?= release
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
INCDIR  ?= $(PREFIX)/include
DESTDIR ?=
ifeq ($(origin CC),default)
CC := gcc
endif
OBJCOPY ?= objcopy

B := build/$(MODE)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

# Made by deps.sh, HAVE_LZ4 and HAVE_ZSTD; make reads this file again after making it.
ifneq ($(filter-out help clean,$(or $(MAKECMDGOALS),all)),)
include build/config.mk
endif
# PEERS: the adapters of the benchmark whose libraries could be had.
ifneq ($(filter bench,$(MAKECMDGOALS)),)
include build/deps-bench
endif

# -- flags ---------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -Wpointer-arith -Werror

FLAGS_release := -O2 -DNDEBUG -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
FLAGS_debug   := -O0 -g
FLAGS_asan    := -O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined,float-cast-overflow \
                 -fno-sanitize-recover=all -Wno-maybe-uninitialized
FLAGS_tsan    := -O1 -g1 -fno-omit-frame-pointer -fsanitize=thread -Wno-error=tsan \
                 -Wno-maybe-uninitialized
# Link-time optimisation: a row of a scan passes through a dozen small functions in as many files.
# The objects hold machine code as well, so that forty test programs link without optimising anew;
# the tests' own have nothing else.
LTO_release := -flto=auto -ffat-lto-objects
# The tests' own code is most of what there is to compile, and not what takes long to run.
TESTS_release := -O1
TESTS_asan    := -O0
ifndef FLAGS_$(MODE)
$(error MODE=$(MODE) is not one of release, debug, asan, tsan)
endif

DEFINES := -D_GNU_SOURCE -DFKV_BUILD_MODE='"$(MODE)"'
LIBS    := -lz
ifdef HAVE_LZ4
DEFINES += -DFKV_HAVE_LZ4
LIBS    += -llz4
endif
ifdef HAVE_ZSTD
DEFINES += -DFKV_HAVE_ZSTD
LIBS    += -lzstd
endif
LIBS += -lm

# CFLAGS, CPPFLAGS and LDFLAGS are the caller's and come last.
COMPILE = $(CC) -std=c11 $(DEFINES) $(WARNINGS) -pthread -fPIC -fvisibility=hidden \
          -ffunction-sections -fdata-sections -fstack-protector-strong $(FLAGS_$(MODE)) -MMD -MP
LINK    = $(CC) -pthread $(FLAGS_$(MODE)) -Wl,--gc-sections -Wl,--as-needed -Wl,-z,relro -Wl,-z,now \
          -Wl,-z,noexecstack
# A hundred programs: twice as fast with gold, where it is.
LINK_TEST = $(LINK) -fno-lto $(if $(GOLD),-fuse-ld=gold)
GOLD := $(shell command -v ld.gold)

# -- what there is -------------------------------------------------------------------------------

ENGINE_SRC := $(sort $(wildcard engine/*.c engine/*/*.c))
EXT_SRC    := $(sort $(wildcard ext/*.c))
TEST_SRC   := $(sort $(wildcard tests/*/test_*.c))
BENCH_SRC  := $(sort $(wildcard tests/bench/*.c))
PEER_SRC   := $(sort $(wildcard tests/bench/peers/*.c))

ENGINE_OBJ := $(ENGINE_SRC:%.c=$(B)/%.o)
EXT_OBJ    := $(EXT_SRC:%.c=$(B)/%.o)
CORE_OBJ   := $(EXT_SRC:%.c=$(B)/core/%.o)
BENCH_OBJ  := $(BENCH_SRC:%.c=$(B)/%.o)
PEER_OBJ   := $(PEER_SRC:%.c=$(B)/%.o)
PEER_LIBS_fastkv := -lsqlite3 $(LIBS)
PEER_LIBS_leveldb := -lleveldb
PEER_LIBS_rocksdb := -lrocksdb
PEER_LIBS_lmdb := -llmdb
PEER_LIBS_wiredtiger := -lwiredtiger
TEST_BIN   := $(TEST_SRC:%.c=$(B)/%)
# What stands beside test_oracle.c is linked with it.
ORACLE_OBJ := $(patsubst %.c,$(B)/%.o,$(filter-out $(TEST_SRC),$(wildcard tests/oracle/*.c)))

# Any test may look over the engine's shoulder; what does not is linked without it.
AUDIT_OBJ  := $(patsubst %.c,$(B)/%.o,$(wildcard tests/audit/*.c))

# And with the newest SQLite there is: the amalgamation that better-sqlite3 carries (make verify).
NEWEST     := build/bindings/node/node_modules/better-sqlite3/deps/sqlite3
NEWEST_EXT := $(EXT_SRC:%.c=$(B)/newest/%.o)
NEWEST_OBJ := $(patsubst %.c,$(B)/newest/%.o,$(wildcard tests/oracle/*.c))
NEWEST_CHECK := $(B)/newest/tests/features/test_check.o

# An engine test is linked with the engine alone; all others also get the extension, linked in.
ENGINE_TESTS := $(filter-out $(B)/tests/unit/test_ext_%,$(filter $(B)/tests/unit/%,$(TEST_BIN)))
SQL_TESTS    := $(filter-out $(ENGINE_TESTS),$(TEST_BIN))

VERIFY_DEPS := build/deps-test build/deps-bindings build/deps-verify
DEPS        := build/deps-demo $(VERIFY_DEPS) build/deps-bench

# -- targets -------------------------------------------------------------------------------------

.PHONY: all demo test verify lint bench golden install uninstall format cover deps help clean
.PHONY: build-tests modes FORCE

all: $(B)/fastkv.so ## build build/fastkv.so and build/libfastkv.a (the default; MODE=…)
ifeq ($(MODE),release)
all: build/fastkv.so build/libfastkv.a
endif

demo: all build/deps-demo ## index this machine's /usr in a fastkv table and query it
	@tests/demo.sh

test: build/config.mk ## run every test suite, a few minutes
	@tests/run.sh

verify: all $(VERIFY_DEPS) ## all of it against the floors of the reliability programme: an hour
	@tests/verify.sh

lint: all build/deps-test ## check layers, lengths, banned calls, exports, format; cppcheck
	@python3 tests/tools/lint.py

bench: all $(B)/bench $(PEERS:%=$(B)/peers/%.so) ## compare with SQLite, LevelDB and others (BENCH_N=1000000)
	@BENCH_PEERS=$(B)/peers $(B)/bench

golden: all build/deps-test ## rewrite the expected outputs of the SQL tests; read the diff
	@python3 tests/tools/golden.py --update

install: all ## install into PREFIX (default /usr/local) below DESTDIR
	install -d '$(DESTDIR)$(LIBDIR)' '$(DESTDIR)$(INCDIR)'
	install -m 755 build/fastkv.so '$(DESTDIR)$(LIBDIR)/fastkv.so'
	install -m 644 build/libfastkv.a '$(DESTDIR)$(LIBDIR)/libfastkv.a'
	install -m 644 engine/fastkv.h '$(DESTDIR)$(INCDIR)/fastkv.h'
	@echo "In the sqlite3 shell:  .load $(LIBDIR)/fastkv"

uninstall: ## remove what install has put there
	rm -f '$(DESTDIR)$(LIBDIR)/fastkv.so' '$(DESTDIR)$(LIBDIR)/libfastkv.a' \
	    '$(DESTDIR)$(INCDIR)/fastkv.h'

format: build/deps-test ## lay out all C files by .clang-format
	@python3 tests/tools/lint.py --format

cover: build/deps-test ## which lines and branches of engine/ and ext/ the tests run, ten minutes
	@tests/tools/cover.sh

deps: ## look again for what is needed, and install what is missing (Debian packages)
	@rm -f build/config.mk $(DEPS)
	@$(MAKE) --no-print-directory build/config.mk $(filter-out %-verify %-bench,$(DEPS))
	@echo "all there"

help: ## this list
	@echo "fastkv: an LSM key-value store as a loadable SQLite extension"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  MODE=release|debug|asan|tsan chooses the build, PREFIX and DESTDIR where install goes."

clean: ## remove build/
	rm -rf build

# -- dependencies --------------------------------------------------------------------------------

build/config.mk: tests/tools/deps.sh
	@mkdir -p build
	@sh tests/tools/deps.sh build $@

$(DEPS): build/deps-%: tests/tools/deps.sh | build/config.mk
	@sh tests/tools/deps.sh $* $@

# One after the other: apt-get does not run beside itself.
build/deps-bindings: | build/deps-test
build/deps-verify: | build/deps-bindings

# -- compiling -----------------------------------------------------------------------------------

# Objects depend on $(B)/flags, which changes only when the flags do.
FLAGS_NOW := $(COMPILE) $(LTO_$(MODE)) $(TESTS_$(MODE)) $(LINK_TEST) $(LIBS) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)
$(B)/flags: FORCE | build/config.mk
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $@ || \
	    printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' > $@

# What is linked depends on which files there are, also when one has gone.
$(B)/sources: FORCE
	@mkdir -p $(@D)
	@echo $(ENGINE_SRC) $(EXT_SRC) | cmp -s - $@ || echo $(ENGINE_SRC) $(EXT_SRC) > $@

# The commit that fastkv_debug() names, only for files that ask for it.
SOURCE_ID := $(or $(shell git rev-parse --short=12 HEAD 2>/dev/null),unknown)
$(B)/source-id: FORCE
	@mkdir -p $(@D)
	@echo $(SOURCE_ID) | cmp -s - $@ || echo $(SOURCE_ID) > $@
NAMES_SOURCE := $(if $(EXT_SRC),$(shell grep -l FKV_SOURCE_ID $(EXT_SRC)))
$(NAMES_SOURCE:%.c=$(B)/%.o) $(NAMES_SOURCE:%.c=$(B)/core/%.o): $(B)/source-id
$(NAMES_SOURCE:%.c=$(B)/%.o) $(NAMES_SOURCE:%.c=$(B)/core/%.o): \
    DEFINES_HERE := -DFKV_SOURCE_ID='"$(SOURCE_ID)"'

define compile
	@mkdir -p $(@D)
	@echo "  cc    $@"
	@$(COMPILE) $(1) $(DEFINES_HERE) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
endef

$(B)/engine/%.o: engine/%.c $(B)/flags
	$(call compile,$(LTO_$(MODE)) -Iengine)

$(B)/ext/%.o: ext/%.c $(B)/flags
	$(call compile,$(LTO_$(MODE)) -Iengine -Iext)

# The extension for linking into a program: SQLite is called directly, not through its table.
$(B)/core/ext/%.o: ext/%.c $(B)/flags
	$(call compile,$(LTO_$(MODE)) -Iengine -Iext -DSQLITE_CORE)

$(B)/tests/%.o: tests/%.c $(B)/flags
	$(call compile,$(TESTS_$(MODE)) -Iengine -Iext -Itests -DSQLITE_CORE)

-include $(patsubst %.o,%.d,$(ENGINE_OBJ) $(EXT_OBJ) $(CORE_OBJ) $(BENCH_OBJ) $(PEER_OBJ) \
    $(ORACLE_OBJ) $(AUDIT_OBJ) $(NEWEST_EXT) $(NEWEST_OBJ) $(NEWEST_CHECK)) $(TEST_BIN:%=%.d)

# -- linking -------------------------------------------------------------------------------------

$(B)/fastkv.so: $(ENGINE_OBJ) $(EXT_OBJ) $(B)/sources
	@echo "  link  $@"
	@$(LINK) $(LTO_$(MODE)) -shared -Wl,-soname,fastkv.so -Wl,-z,nodelete -Wl,-z,defs $(LDFLAGS) \
	    -o $@ $(ENGINE_OBJ) $(EXT_OBJ) $(LIBS)

build/fastkv.so: build/release/fastkv.so
	@cp $< $@.new && mv $@.new $@

# One object in which only the entry point and the C interface are visible from outside.
build/libfastkv.a: $(ENGINE_OBJ) $(CORE_OBJ) $(B)/sources
	@echo "  ar    $@"
	@$(CC) -r -nostdlib $(FLAGS_$(MODE)) $(LTO_$(MODE)) \
	    $(if $(LTO_$(MODE)),-flinker-output=nolto-rel) -o $(B)/fastkv.o $(ENGINE_OBJ) $(CORE_OBJ)
	@$(OBJCOPY) --wildcard --keep-global-symbol='fkv_*' \
	    --keep-global-symbol=sqlite3_fastkv_init $(B)/fastkv.o
	@rm -f $@
	@$(AR) rcs $@ $(B)/fastkv.o

build-tests: $(TEST_BIN) $(B)/fastkv.so

# Several modes at once, of each what run.sh asks for.
modes: $(MODES:%=mode-%)
mode-%: FORCE
	+@$(MAKE) --no-print-directory MODE=$* $(TARGETS_$*)

$(TEST_BIN): $(AUDIT_OBJ)
$(ENGINE_TESTS): %: %.o $(ENGINE_OBJ) $(B)/sources
	@echo "  link  $@"
	@$(LINK_TEST) $(LDFLAGS) -o $@ $(filter $(B)/tests/%.o,$^) $(ENGINE_OBJ) $(LIBS) -ldl

$(B)/tests/oracle/test_oracle: $(ORACLE_OBJ)
$(SQL_TESTS): %: %.o $(ENGINE_OBJ) $(CORE_OBJ) $(B)/sources
	@echo "  link  $@"
	@$(LINK_TEST) $(LDFLAGS) -o $@ $(filter $(B)/tests/%.o,$^) $(ENGINE_OBJ) $(CORE_OBJ) \
	    -lsqlite3 $(LIBS)

# SQLite's own assertions are on where ours are.
$(B)/newest/sqlite3.o: $(NEWEST)/sqlite3.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  cc    $@"
	@$(CC) -std=gnu11 -w -pthread $(FLAGS_$(MODE)) -fno-sanitize=undefined \
	    $(if $(filter release,$(MODE)),,-DSQLITE_DEBUG) -c -o $@ $<

$(B)/newest/%.o: %.c $(B)/flags
	$(call compile,-I$(NEWEST) -Iengine -Iext -Itests -DSQLITE_CORE -DFKV_ORACLE_NEWEST)

$(B)/newest/test_oracle: $(NEWEST_OBJ)
$(B)/newest/test_check: $(NEWEST_CHECK)
$(B)/newest/test_oracle $(B)/newest/test_check: $(NEWEST_EXT) $(B)/newest/sqlite3.o $(ENGINE_OBJ) \
    $(B)/sources
	@echo "  link  $@"
	@$(LINK_TEST) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIBS) -ldl

$(BENCH_OBJ): TESTS_release := # measures
$(B)/bench: $(BENCH_OBJ)
	@echo "  link  $@"
	@$(LINK) -fno-lto $(LDFLAGS) -o $@ $(BENCH_OBJ) -lsqlite3 -ldl -lm

# An adapter each, so that the benchmark itself needs none of the libraries.
$(PEER_OBJ): TESTS_release := # measures
$(B)/peers/fastkv.so: build/libfastkv.a
$(B)/peers/%.so: $(B)/tests/bench/peers/%.o
	@mkdir -p $(@D)
	@echo "  link  $@"
	@$(LINK) -fno-lto -shared $(LDFLAGS) -o $@ $^ $(PEER_LIBS_$*)
