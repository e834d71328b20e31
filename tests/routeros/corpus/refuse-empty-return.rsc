:global f do={ :return; }
