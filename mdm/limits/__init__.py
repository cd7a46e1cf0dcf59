"""How fast the fleet may be woken and fed: limits as data with history."""
