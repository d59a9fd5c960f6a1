# Language, warnings and hardening of every target; the target cmkd_options carries them.
#
# Assertions stay on in every build, release included: in the daemon a broken invariant of ours must stop the process (the
# store survives that), not run on. Code that lives in other people's processes (common, pkcs11/**) has none.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)
include(CheckCXXCompilerFlag)
include(CheckLinkerFlag)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, RelWithDebInfo or Release" FORCE)
endif()
# Without -DNDEBUG; see above.
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g")
set(CMAKE_CXX_FLAGS_DEBUG "-Og -g")

find_program(CMKD_CCACHE ccache)
if(CMKD_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMKD_CCACHE}")
endif()

add_library(cmkd_options INTERFACE)
target_include_directories(cmkd_options INTERFACE "${PROJECT_SOURCE_DIR}")
target_compile_options(cmkd_options INTERFACE
  -Wall -Wextra $<$<CXX_COMPILER_ID:GNU>:-Werror> -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor
  -Woverloaded-virtual -Wformat=2 -Wcast-align -Wimplicit-fallthrough -Wvla)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # These depend on how far the optimiser saw, and are wrong often enough in g++ 12's own library to say so without stopping.
  target_compile_options(cmkd_options INTERFACE
    -Wno-error=stringop-overflow -Wno-error=stringop-overread -Wno-error=array-bounds -Wno-error=maybe-uninitialized
    -Wno-error=restrict)
endif()

# Adds each flag that this compiler knows.
function(cmkd_add_flags_if_known)
  foreach(flag IN LISTS ARGN)
    string(MAKE_C_IDENTIFIER "CMKD_HAS${flag}" known)
    check_cxx_compiler_flag("${flag}" "${known}")
    if(${known})
      target_compile_options(cmkd_options INTERFACE "${flag}")
    endif()
  endforeach()
endfunction()

cmkd_add_flags_if_known(-fstack-protector-strong -fstack-clash-protection -fcf-protection -fno-semantic-interposition
  -ftrivial-auto-var-init=zero)
target_link_options(cmkd_options INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed)

if(CMKD_SANITIZE)
  target_compile_options(cmkd_options INTERFACE
    "-fsanitize=${CMKD_SANITIZE}" -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(cmkd_options INTERFACE "-fsanitize=${CMKD_SANITIZE}")
  target_compile_definitions(cmkd_options INTERFACE "CMKD_SANITIZED=1")
else()
  target_compile_definitions(cmkd_options INTERFACE _GLIBCXX_ASSERTIONS)
  target_compile_options(cmkd_options INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()

if(CMKD_FUZZ AND NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "CMKD_FUZZ needs clang: cmake --preset fuzz")
endif()
if(CMKD_FUZZ)
  # Coverage for everything that a fuzz target may reach; the fuzzer's own main only where it is linked.
  # Lines are all that a report of the sanitizers shows; the rest of the debug information doubles the time of the build.
  target_compile_options(cmkd_options INTERFACE -fsanitize=fuzzer-no-link -gline-tables-only)
  target_link_options(cmkd_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
