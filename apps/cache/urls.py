from django.urls import URLPattern

app_name = "cache"
urlpatterns: list[URLPattern] = []
