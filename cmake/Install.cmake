# `cmake --install` gives the program, the libraries with their headers, and a CMake package `accordion` with the targets
# accordion::core (no tensors) and accordion::accordion.
include(CMakePackageConfigHelpers)
set_target_properties(accordion_core PROPERTIES EXPORT_NAME core)
set_target_properties(accordion_tensor PROPERTIES EXPORT_NAME accordion)
set_target_properties(accordion PROPERTIES EXPORT_NAME program INSTALL_RPATH ${torch_root}/lib)  # the libtorch it was built with
install(TARGETS accordion accordion_core accordion_tensor EXPORT accordion)
install(DIRECTORY src/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/accordion FILES_MATCHING PATTERN "*.h" PATTERN command EXCLUDE)
install(DIRECTORY models recipes DESTINATION ${CMAKE_INSTALL_DATADIR}/accordion)
install(EXPORT accordion NAMESPACE accordion:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/accordion FILE accordion-targets.cmake)
configure_package_config_file(cmake/accordion-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/accordion-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/accordion)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/accordion-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/accordion-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/accordion-config-version.cmake
  cmake/Dependencies.cmake cmake/Libtorch.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/accordion)
