# Where things go when they are installed: the module where p11-kit looks, the daemon in sbin, its helper out of the way.
foreach(program IN ITEMS "cmkd:${CMAKE_INSTALL_SBINDIR}" "cmkctl:${CMAKE_INSTALL_BINDIR}" "cmkd-sim:${CMAKE_INSTALL_BINDIR}"
    "cmkd-hsm-host:${CMAKE_INSTALL_LIBEXECDIR}/cmkd")
  string(REPLACE ":" ";" program "${program}")
  list(GET program 0 name)
  list(GET program 1 folder)
  if(TARGET ${name})
    install(TARGETS ${name} RUNTIME DESTINATION "${folder}")
  endif()
endforeach()
foreach(module IN ITEMS cmkd-pkcs11 cmkd-firmware-sim)
  if(TARGET ${module})
    install(TARGETS ${module} LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkcs11")
  endif()
endforeach()
# A simulated device looks at its own image when it is switched on, and installing one changes it.
foreach(image IN ITEMS "cmkd-sim:${CMAKE_INSTALL_BINDIR}" "cmkd-firmware-sim:${CMAKE_INSTALL_LIBDIR}/pkcs11")
  string(REPLACE ":" ";" image "${image}")
  list(GET image 0 name)
  list(GET image 1 folder)
  if(TARGET ${name})
    install(CODE "
      execute_process(COMMAND \"$<TARGET_FILE:cmkd-sim>\" seal
        \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${folder}/$<TARGET_FILE_NAME:${name}>\" COMMAND_ERROR_IS_FATAL ANY)")
  endif()
endforeach()

# cmkd_install_files(FOLDER PATTERN...): files of the source tree that match, copied as they are.
function(cmkd_install_files folder)
  foreach(pattern IN LISTS ARGN)
    file(GLOB files CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${pattern}")
    install(FILES ${files} DESTINATION "${folder}")
  endforeach()
endfunction()

# The configuration is the operator's once it is there: a second installation leaves it alone.
install(CODE "
  set(etc \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_SYSCONFDIR}/cmkd\")
  if(CMAKE_INSTALL_PREFIX STREQUAL /usr)
    set(etc /etc/cmkd)
  endif()
  if(NOT EXISTS \"\$ENV{DESTDIR}\${etc}/cmkd.toml\")
    file(INSTALL \"${PROJECT_SOURCE_DIR}/etc/cmkd.toml\" DESTINATION \"\${etc}\")
  endif()")
cmkd_install_files("${CMAKE_INSTALL_INCLUDEDIR}/cmkd" pkcs11/spec/cmkd_pkcs11.h)
cmkd_install_files(lib/systemd/system packaging/systemd/*.service packaging/systemd/*.socket)
cmkd_install_files(lib/sysusers.d packaging/sysusers.d/*.conf)
cmkd_install_files(lib/tmpfiles.d packaging/tmpfiles.d/*.conf)
cmkd_install_files("${CMAKE_INSTALL_DATADIR}/p11-kit/modules" packaging/p11-kit/*.module)
cmkd_install_files("${CMAKE_INSTALL_DOCDIR}" README.md CHANGELOG.md LICENSE docs/*.md docs/*.svg
  packaging/systemd/hsm-user.conf)
foreach(section IN ITEMS 1 5 8)
  cmkd_install_files("${CMAKE_INSTALL_MANDIR}/man${section}" man/*.${section})
endforeach()
