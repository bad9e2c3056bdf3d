import { playRow } from "./cells.ts";
import { destinationGuestKilled, guestCrashes, guestPowersOff, sourceGuestKilled } from "./rows/guests.ts";

playRow(guestPowersOff);
playRow(guestCrashes);
playRow(sourceGuestKilled);
playRow(destinationGuestKilled);
