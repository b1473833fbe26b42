# cmake --install: the program, its mount(8) helpers, its service, its manual pages.

if(TARGET varve)
  install(TARGETS varve RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")

  # mount(8) looks for helpers in /sbin only, so from /usr/local the links go to /usr/sbin (the same folder).
  install(CODE [[
    set(prefix "${CMAKE_INSTALL_PREFIX}")
    if(prefix MATCHES "^/usr(/local)?/?$")
      set(helpers "$ENV{DESTDIR}/usr/sbin")
    else()
      set(helpers "$ENV{DESTDIR}${prefix}/sbin")
    endif()
    file(MAKE_DIRECTORY "${helpers}")
    foreach(name mount.fuse.varvefs mount.varvefs)
      message(STATUS "Installing: ${helpers}/${name}")
      file(CREATE_LINK "${prefix}/bin/varve" "${helpers}/${name}" SYMBOLIC)
    endforeach()
  ]])
endif()

foreach(section 1 8)
  file(GLOB_RECURSE pages CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/docs/*.${section}")
  if(pages)
    install(FILES ${pages} DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}")
  endif()
endforeach()

# systemd looks into lib/systemd/system of /usr and /usr/local.
set(VARVE_PROGRAM "${CMAKE_INSTALL_FULL_BINDIR}/varve")
configure_file("${PROJECT_SOURCE_DIR}/packaging/systemd/varve@.service.in"
  "${PROJECT_BINARY_DIR}/packaging/varve@.service" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/packaging/varve@.service" DESTINATION lib/systemd/system)
