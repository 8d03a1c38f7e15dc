#include "cache/prefix_tree.h"
