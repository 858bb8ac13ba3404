// The console: wires the views together and starts what runs by itself.

import { startBatch } from "./batch.js";
import { startHealth } from "./health.js";
import { startKey } from "./key.js";
import { startModels } from "./models.js";
import { startStream } from "./stream.js";
import { startSwitch } from "./theme_switch.js";
import { startUser } from "./user.js";
import { startViews } from "./views.js";

startSwitch();
startKey();
startViews();
startHealth();
startModels();
startStream();
startBatch();
startUser();
