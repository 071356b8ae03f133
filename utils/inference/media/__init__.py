"""Pictures, videos and streams in; videos out. OpenCV's and ffmpeg's home in this pillar."""
