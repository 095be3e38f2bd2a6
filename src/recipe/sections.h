#pragma once

#include "recipe/recipe.h"

namespace accordion {

struct AnyVisitor {
  void operator()(auto&&...) const {}
};

/// A struct of the recipe that lists its keys in `visit`.
template <class T>
concept Section = requires(T& value, AnyVisitor visitor) {
  value.visit(visitor);
};

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

}  // namespace accordion
