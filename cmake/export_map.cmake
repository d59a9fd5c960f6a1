# Derives the export list of a PKCS#11 module from the rows of pkcs11/spec/call_table.h, so that no name is written twice.

# cmkd_export_map(OUT): writes the linker's version script and gives its path.
function(cmkd_export_map out)
  set(table "${PROJECT_SOURCE_DIR}/pkcs11/spec/call_table.h")
  set(map "${CMKD_GENERATED_DIR}/pkcs11.map")
  set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${table}")
  # The rows end in a backslash, which CMake's lists of lines cannot hold; so the text is searched, not its lines.
  file(READ "${table}" text)
  string(REGEX MATCHALL "\n *X\\(C_[A-Za-z]+," rows "${text}")
  list(LENGTH rows count)
  if(count LESS 68)
    message(FATAL_ERROR "${table} has ${count} rows that look like a call; PKCS#11 2.40 alone has 68")
  endif()
  set(names "")
  foreach(row IN LISTS rows)
    string(REGEX REPLACE "\n *X\\((C_[A-Za-z]+)," "\\1" name "${row}")
    string(APPEND names "    ${name};\n")
  endforeach()
  file(CONFIGURE OUTPUT "${map}" CONTENT "{\n  global:\n${names}  local:\n    *;\n};\n" @ONLY)
  set(${out} "${map}" PARENT_SCOPE)
endfunction()
