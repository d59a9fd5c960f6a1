# Where the build tree keeps what it makes, the same in every preset: programs in bin/, loadable modules in lib/.
set(CMKD_BIN_DIR "${PROJECT_BINARY_DIR}/bin")
set(CMKD_LIB_DIR "${PROJECT_BINARY_DIR}/lib")
set(CMKD_TEST_BIN_DIR "${PROJECT_BINARY_DIR}/test-bin")
set(CMKD_GENERATED_DIR "${PROJECT_BINARY_DIR}/generated")
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMKD_BIN_DIR}")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMKD_LIB_DIR}")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/archives")
