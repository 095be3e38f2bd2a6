# uPlot, the plots of `accordion compare --html`, goes into the program as text: a page needs no network, the program no
# files. It comes in a wheel that `./dev` installs into .deps/python (metaflow-card-uplot), or from -DUPLOT_DIR=<folder>.
file(GLOB uplot_folders ${CMAKE_CURRENT_SOURCE_DIR}/.deps/python/lib/python3*/site-packages/metaflow_extensions/card_uplot/plugins/cards/uplot/uplot)
find_path(UPLOT_DIR uPlot.iife.min.js PATHS ${uplot_folders} NO_DEFAULT_PATH)
if(NOT UPLOT_DIR)
  message(FATAL_ERROR "uPlot is missing: run `./dev build`, or pass -DUPLOT_DIR=<folder of uPlot.iife.min.js and uPlot.min.css>")
endif()
file(READ ${UPLOT_DIR}/uPlot.iife.min.js UPLOT_JS)
file(READ ${UPLOT_DIR}/uPlot.min.css UPLOT_CSS)
configure_file(${CMAKE_CURRENT_SOURCE_DIR}/src/report/page.html.in ${CMAKE_CURRENT_BINARY_DIR}/page.html @ONLY)
file(READ ${CMAKE_CURRENT_BINARY_DIR}/page.html ACCORDION_PAGE)
configure_file(${CMAKE_CURRENT_SOURCE_DIR}/src/report/page_source.cpp.in ${CMAKE_CURRENT_BINARY_DIR}/page_source.cpp @ONLY)
set(ACCORDION_PAGE_SOURCE ${CMAKE_CURRENT_BINARY_DIR}/page_source.cpp)
