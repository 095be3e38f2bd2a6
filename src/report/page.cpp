#include "report/page.h"

#include "base/json.h"

namespace accordion {

std::string filled_page(std::string_view page, const nlohmann::ordered_json& data) {
  auto text = json_text(data);
  for (size_t at = 0; (at = text.find('<', at)) != std::string::npos;)
    text.replace(at, 1, "\\u003c");  // no </script> from a name
  std::string filled(page);
  constexpr std::string_view place = "\"ACCORDION_DATA\"";
  return filled.replace(filled.find(place), place.size(), text);
}

}  // namespace accordion
